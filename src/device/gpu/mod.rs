//! The GPU device: a plan's launches as compute dispatches, recorded many to a submission.
//!
//! [`GpuContext`] is an open adapter with its compiled pipelines; [`Gpu`] is a plan loaded onto
//! it: one buffer per memory slot, one bind group per launch, all made before the first step.
//! Running records dispatches and returns; reading waits.

mod context;
mod counters;
mod pipelines;
mod program;
mod timing;

pub(super) use context::is_software;
pub use context::{GpuContext, GpuOptions};
pub use counters::Counters;
pub use pipelines::specialise;
pub use program::Gpu;
