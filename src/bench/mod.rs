//! Benchmarks: kernels, training steps, nearest neighbours and the [ladder](crate::kernels::gemm_ladder),
//! on one device or on several in turns.
//!
//! Every subject is a race ([`alternate`]): contestants take turns, so that a machine whose clock wanders
//! wanders for all of them. Every result is a [`Row`], whichever the subject.

mod harness;
pub mod kernels;
pub mod knn;
pub mod ladder;
pub mod scaling;
pub mod step;

pub use harness::{Effort, Timing, alternate};

use serde::Serialize;

use crate::buffer::Cost;
use crate::ceilings::Ceilings;
use crate::device::{Backend, DeviceError};
use crate::recipe::Recipe;

/// The two reference workloads: the name in reports, and the recipe.
pub const WORKLOADS: [(&str, &str); 2] = [("dense", "reference-dense"), ("conv", "reference-conv")];

/// A workload's recipe at another batch size.
fn recipe(name: &str, batch: usize) -> Recipe {
    let mut recipe = Recipe::load(name).expect("built in");
    recipe.train.batch = batch;
    recipe
}

/// A device under test, and what it can do at best.
pub struct Machine {
    /// `cpu`, or the adapter's name.
    pub name: String,
    /// The device.
    pub backend: Backend,
    /// Measured.
    pub ceilings: Ceilings,
}

impl Machine {
    /// Measures what a device can do at best; takes about half a second.
    pub fn new(backend: Backend) -> Result<Machine, DeviceError> {
        let info = backend.info();
        Ok(Machine {
            name: info.adapter.unwrap_or_else(|| info.kind.to_owned()),
            ceilings: Ceilings::measure(&backend)?,
            backend,
        })
    }

    fn is_gpu(&self) -> bool {
        matches!(self.backend, Backend::Gpu(_))
    }

    /// A row of this device: `cost` was done in each run that was timed.
    fn row(&self, workload: &'static str, kernel: &str, timing: Timing, cost: Cost) -> Row {
        let per_second = |amount: u64| Some(amount as f64 / timing.median / 1e9);
        let [low, high] = timing.quartiles;
        let threads = self.backend.info().threads;
        Row {
            workload,
            kernel: kernel.to_owned(),
            device: self.name.clone(),
            batch: None,
            median_ms: 1e3 * timing.median,
            min_ms: 1e3 * timing.min,
            gflops: per_second(cost.flops),
            gbytes_per_s: per_second(cost.bytes()),
            pct_of_ceiling: Some(100.0 * self.ceilings.floor(cost) / timing.median),
            low_ms: 1e3 * low,
            high_ms: 1e3 * high,
            threads: (!self.is_gpu()).then_some(threads),
            detail: None,
            pass: None,
            shapes: None,
            upload_ms: None,
            dispatch_ms: None,
            compute_ms: None,
            readback_ms: None,
        }
    }
}

/// One result, as JSON and CSV have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// `dense`, `conv`, `knn` or `ladder`.
    pub workload: &'static str,
    /// A kernel's name; `step`; `search`; or a rung.
    pub kernel: String,
    /// `cpu`, or the adapter's name.
    pub device: String,
    /// Images in a batch, or queries.
    pub batch: Option<usize>,
    /// Median over the rounds.
    pub median_ms: f64,
    /// Least over the rounds.
    pub min_ms: f64,
    /// Floating-point operations per nanosecond, at the median.
    pub gflops: Option<f64>,
    /// Bytes read and written per nanosecond, each operand of each launch once, at the median.
    pub gbytes_per_s: Option<f64>,
    /// The time that [`Ceilings`] call the least, in percent of the median.
    pub pct_of_ceiling: Option<f64>,
    /// First quartile over the rounds.
    pub low_ms: f64,
    /// Third quartile.
    pub high_ms: f64,
    /// Threads of the CPU.
    pub threads: Option<usize>,
    /// The launch in words, or a rung's idea.
    pub detail: Option<String>,
    /// `forward`, `data gradient`, `weight gradient`, or `backward` of what has no more to tell.
    pub pass: Option<&'static str>,
    /// Shapes of the operands.
    pub shapes: Option<String>,
    /// Of a GPU's step: copying a batch of images there, were they not there already.
    pub upload_ms: Option<f64>,
    /// Of a GPU's step: the host's time to record and submit it.
    pub dispatch_ms: Option<f64>,
    /// Of a GPU's step: its own time, once it is submitted.
    pub compute_ms: Option<f64>,
    /// Of a GPU's step: reading the loss back.
    pub readback_ms: Option<f64>,
}

impl Row {
    /// GFLOP/s at which this would take no longer than the ceilings ask.
    pub fn ceiling_gflops(&self) -> Option<f64> {
        Some(100.0 * self.gflops? / self.pct_of_ceiling?)
    }
}
