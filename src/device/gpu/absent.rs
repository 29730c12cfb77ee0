//! The GPU in a build without the feature `gpu`: there are no adapters, so types that stand for one have
//! no values, and code that matches on a backend need not know how the crate was built.

use std::sync::Arc;

use crate::buffer::View;
use crate::device::{AdapterListing, Device, DeviceError, DeviceInfo, HostData, Timing};
use crate::plan::{Plan, RoutineId};

use super::GpuOptions;

/// An adapter: there is none.
pub(in crate::device) enum Adapter {}

/// No adapters.
pub(in crate::device) fn adapters() -> Vec<Adapter> {
    Vec::new()
}

impl Adapter {
    pub(in crate::device) fn name(&self) -> String {
        match *self {}
    }

    pub(in crate::device) fn is_software(&self) -> bool {
        match *self {}
    }

    pub(in crate::device) fn open(&self, _: GpuOptions) -> Result<Arc<GpuContext>, DeviceError> {
        match *self {}
    }

    pub(in crate::device) fn listing(&self) -> AdapterListing {
        match *self {}
    }
}

/// An open adapter: there is none.
#[derive(Debug)]
pub enum GpuContext {}

impl GpuContext {
    /// The adapter's name.
    pub fn name(&self) -> &str {
        match *self {}
    }

    /// Whether it computes on the CPU after all.
    pub fn is_software(&self) -> bool {
        match *self {}
    }

    /// Whether its threads can read each other's registers.
    pub fn has_subgroups(&self) -> bool {
        match *self {}
    }

    /// Bytes of the largest buffer that a kernel can be given whole.
    pub fn largest_buffer(&self) -> u64 {
        match *self {}
    }
}

/// A plan on an adapter: there is none.
#[derive(Debug)]
pub enum Gpu {}

impl Gpu {
    /// Loads a plan onto an adapter.
    ///
    /// # Errors
    ///
    /// None: there is no adapter to be called with.
    pub fn new(context: Arc<GpuContext>, _: Arc<Plan>) -> Result<Gpu, DeviceError> {
        match *context {}
    }
}

impl Device for Gpu {
    fn info(&self) -> &DeviceInfo {
        match *self {}
    }

    fn plan(&self) -> &Plan {
        match *self {}
    }

    fn run(&mut self, _: RoutineId, _: usize) -> Result<(), DeviceError> {
        match *self {}
    }

    fn run_launch(&mut self, _: RoutineId, _: usize) -> Result<(), DeviceError> {
        match *self {}
    }

    fn time_launches(&mut self, _: RoutineId) -> Result<Timing, DeviceError> {
        match *self {}
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        match *self {}
    }

    fn write(&mut self, _: View, _: HostData<'_>) -> Result<(), DeviceError> {
        match *self {}
    }

    fn read_real(&mut self, _: View) -> Result<Vec<f32>, DeviceError> {
        match *self {}
    }

    fn read_index(&mut self, _: View) -> Result<Vec<u32>, DeviceError> {
        match *self {}
    }
}
