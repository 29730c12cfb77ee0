//! The GPU device: a plan's launches as compute dispatches, recorded many to a submission.
//!
//! [`lower::Lowered`] is a plan written out for a GPU, plain data; [`GpuContext`] is an open adapter with its
//! compiled pipelines; [`Gpu`] is a lowered plan loaded onto it: one buffer per memory slot, one bind
//! group per dispatch, all made before the first step. Running records dispatches and returns; reading
//! waits.

mod context;
mod counters;
mod execute;
pub mod lower;
mod pipelines;
mod timing;

pub(super) use context::is_software;
pub use context::{GpuContext, GpuOptions};
pub use counters::Counters;
pub use execute::Gpu;
