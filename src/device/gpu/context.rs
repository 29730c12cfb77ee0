//! An open adapter.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};

use crate::device::DeviceError;

use super::GpuOptions;
use super::adapters::is_software;
use super::pipelines::Pipeline;

/// An adapter's device and queue, and the pipelines compiled so far.
pub struct GpuContext {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) limits: wgpu::Limits,
    pub(super) options: GpuOptions,
    pub(super) pipelines: Mutex<HashMap<String, Arc<Pipeline>>>,
    /// The driver's first complaint that no call returned.
    complaint: Arc<Mutex<Option<String>>>,
    /// Why the device is lost, if it is.
    lost: Arc<OnceLock<String>>,
    name: String,
    software: bool,
}

impl GpuContext {
    /// Opens an adapter: unless it is to be [portable](GpuOptions::portable), with its own limits, and with
    /// timestamps and subgroups if it has them.
    pub fn open(adapter: &wgpu::Adapter, options: GpuOptions) -> Result<Arc<Self>, DeviceError> {
        let name = adapter.get_info().name;
        let (limits, features) = if options.portable {
            (wgpu::Limits::default(), wgpu::Features::empty())
        } else {
            let optional = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP;
            (adapter.limits(), adapter.features() & optional)
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("diabolo"),
            required_limits: limits.clone(),
            required_features: features,
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        let (device, queue) =
            pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| {
                DeviceError::Gpu {
                    adapter: name.clone(),
                    reason: error.to_string(),
                }
            })?;
        let complaint = Arc::new(Mutex::new(None));
        let first = complaint.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut first = first
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            first.get_or_insert_with(|| error.to_string());
        }));
        // A lost device ignores what it is told without an error: only this callback says so.
        let lost = Arc::new(OnceLock::new());
        let reason = lost.clone();
        device.set_device_lost_callback(move |_, message| {
            let _ = reason.set(message); // the first reason stands
        });
        Ok(Arc::new(GpuContext {
            device,
            queue,
            limits,
            options,
            pipelines: Mutex::default(),
            complaint,
            lost,
            name,
            software: is_software(adapter),
        }))
    }

    /// The adapter's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it computes on the CPU after all.
    pub fn is_software(&self) -> bool {
        self.software
    }

    /// Whether its threads can read each other's registers.
    pub fn has_subgroups(&self) -> bool {
        self.device.features().contains(wgpu::Features::SUBGROUP)
    }

    /// Bytes of the largest buffer that a kernel can be given whole.
    pub fn largest_buffer(&self) -> u64 {
        let limits = &self.limits;
        limits
            .max_buffer_size
            .min(limits.max_storage_buffer_binding_size)
    }

    /// An error in this adapter's name.
    pub(super) fn error(&self, reason: impl ToString) -> DeviceError {
        DeviceError::Gpu {
            adapter: self.name.clone(),
            reason: reason.to_string(),
        }
    }

    /// Waits for all that was submitted.
    pub(super) fn wait(&self) -> Result<(), DeviceError> {
        let poll = || self.device.poll(wgpu::PollType::wait_indefinitely());
        // wgpu 30 panics if the device is lost while it waits: there is no such `PollError`.
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(polled) => polled.map(|_| ()).map_err(|error| self.error(error)),
            Err(_) => self
                .check()
                .and_then(|()| Err(self.error("failed while it was waited for"))),
        }
    }

    /// Errors if the device is lost, or the driver has complained since the last look.
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        if let Some(reason) = self.lost.get() {
            return Err(self.error(format!("the device was lost: {reason}")));
        }
        let mut complaint = self
            .complaint
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        match complaint.take() {
            Some(reason) => Err(self.error(reason)),
            None => Ok(()),
        }
    }
}
