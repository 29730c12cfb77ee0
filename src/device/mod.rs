//! Devices execute plans.
//!
//! A [`Backend`] is a place where plans can run (the CPU with so many threads, or one GPU
//! adapter); [`Backend::load`] puts a plan's memory there and returns a [`Device`] that executes
//! its routines.

pub mod cpu;
pub mod gpu;
mod select;

pub use select::{
    AdapterListing, Backend, Choice, CpuListing, Listing, Selected, any_gpu, list, select,
    select_with,
};

use thiserror::Error;

use crate::buffer::{Element, View};
use crate::plan::{Plan, RoutineId};

use gpu::Counters;

/// A loaded plan.
pub trait Device: Send {
    /// Which device this is.
    fn info(&self) -> &DeviceInfo;

    /// The plan it holds.
    fn plan(&self) -> &Plan;

    /// Runs a routine `times` times. A GPU may return before the work is done; reading waits,
    /// and so does [`wait`](Self::wait).
    fn run(&mut self, routine: RoutineId, times: usize) -> Result<(), DeviceError>;

    /// Runs one launch of a routine: for lockstep and for finding where a number went wrong.
    fn run_launch(&mut self, routine: RoutineId, launch: usize) -> Result<(), DeviceError>;

    /// Runs a routine once, on its own, and says when each of its launches ran. Slower than
    /// [`run`](Self::run) on a GPU, where every launch is recorded as a pass of its own.
    ///
    /// Errors on a GPU without timestamp queries, or whose driver's timestamps make no sense.
    fn time_launches(&mut self, routine: RoutineId) -> Result<Timing, DeviceError>;

    /// What was asked of it since the plan was loaded; none on the CPU, where a launch is a call and
    /// memory is all there is.
    fn counters(&self) -> Option<Counters> {
        None
    }

    /// Waits until all that was run is done.
    fn wait(&mut self) -> Result<(), DeviceError>;

    /// Fills a view from the host.
    ///
    /// Errors if the view's element type or length is not the data's.
    fn write(&mut self, view: View, data: HostData<'_>) -> Result<(), DeviceError>;

    /// Reads a view of reals, rounded to `f32`, after all that was run before.
    fn read_real(&mut self, view: View) -> Result<Vec<f32>, DeviceError>;

    /// Reads a view of reals with all the digits this device holds.
    fn read_double(&mut self, view: View) -> Result<Vec<f64>, DeviceError> {
        let values = self.read_real(view)?;
        Ok(values.into_iter().map(f64::from).collect())
    }

    /// Reads a view of indices, after all that was run before.
    fn read_index(&mut self, view: View) -> Result<Vec<u32>, DeviceError>;
}

/// A stretch of time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// When it begins.
    pub start: f64,
    /// When it ends.
    pub end: f64,
}

impl Span {
    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        self.end - self.start
    }
}

/// When a routine's launches ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timing {
    /// Every launch in order, by the device's clock, from the start of the first. On a GPU launches
    /// that do not depend on each other may overlap.
    pub launches: Vec<Span>,
    /// What the host did for it, by the host's clock, from when it was told to. Empty on the CPU,
    /// where launches are calls.
    pub host: Vec<(&'static str, Span)>,
}

/// What a report says of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// `cpu` or `gpu`.
    pub kind: &'static str,
    /// The adapter's name; none for the CPU.
    pub adapter: Option<String>,
    /// Threads of the CPU device; 0 on a GPU.
    pub threads: usize,
}

impl DeviceInfo {
    /// The CPU with so many threads.
    pub fn cpu(threads: usize) -> Self {
        DeviceInfo {
            kind: "cpu",
            adapter: None,
            threads,
        }
    }

    /// An adapter of this name.
    pub fn gpu(adapter: &str) -> Self {
        DeviceInfo {
            kind: "gpu",
            adapter: Some(adapter.to_owned()),
            threads: 0,
        }
    }
}

/// Host memory to be copied to a device.
#[derive(Clone, Copy, Debug)]
pub enum HostData<'a> {
    /// Reals in single precision.
    Real(&'a [f32]),
    /// Reals in double precision, rounded on devices that compute in `f32`.
    Double(&'a [f64]),
    /// Indices.
    Index(&'a [u32]),
    /// Bytes.
    Byte(&'a [u8]),
}

impl HostData<'_> {
    /// Errors unless this data fills exactly that view.
    pub(crate) fn check(&self, plan: &Plan, view: View) -> Result<(), DeviceError> {
        let (element, len) = match self {
            HostData::Real(values) => (Element::Real, values.len()),
            HostData::Double(values) => (Element::Real, values.len()),
            HostData::Index(values) => (Element::Index, values.len()),
            HostData::Byte(values) => (Element::Byte, values.len()),
        };
        let buffer = plan.buffer(view);
        if element != buffer.element || len != view.len {
            return Err(DeviceError::Transfer {
                buffer: buffer.name.clone(),
                expected: format!("{} × {:?}", view.len, buffer.element),
                got: format!("{len} × {element:?}"),
            });
        }
        Ok(())
    }
}

/// What can go wrong with a device.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// No adapter, or none of the name asked for.
    #[error(
        "no GPU for `--device {asked}`: {found}\nhint: use `--device cpu`, or see `diabolo devices`"
    )]
    NoAdapter {
        /// What the user asked for.
        asked: String,
        /// What was found instead.
        found: String,
    },
    /// The adapter was found but refused to open, or died.
    #[error("GPU `{adapter}`: {reason}")]
    Gpu {
        /// Its name.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// A buffer that the adapter cannot hold or bind.
    #[error(
        "buffer `{buffer}` takes {bytes} bytes, and GPU `{adapter}` allows {limit} per {what}\n\
         hint: make the model, the batch or the window smaller, or use `--device cpu`"
    )]
    TooLarge {
        /// The buffer.
        buffer: String,
        /// Its size.
        bytes: u64,
        /// The adapter's name.
        adapter: String,
        /// Its limit.
        limit: u64,
        /// What the limit is on.
        what: &'static str,
    },
    /// Threads could not be started.
    #[error("could not start {threads} threads: {source}\nhint: give a smaller --threads")]
    Threads {
        /// How many.
        threads: usize,
        /// Why.
        source: std::io::Error,
    },
    /// Host data of another type or length than the buffer.
    #[error("buffer `{buffer}` holds {expected}, not {got}")]
    Transfer {
        /// The buffer.
        buffer: String,
        /// What it holds.
        expected: String,
        /// What was offered.
        got: String,
    },
}
