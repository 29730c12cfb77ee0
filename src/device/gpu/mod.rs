//! The GPU device: a plan's launches as compute dispatches, recorded many to a submission.
//!
//! [`lower::Lowered`] is a plan written out for a GPU, plain data; [`GpuContext`] is an open adapter with its
//! compiled pipelines; [`Gpu`] is a lowered plan loaded onto it: one buffer per memory slot, one bind
//! group per dispatch, all made before the first step. Running records dispatches and returns; reading
//! waits.
//!
//! Without the feature `gpu` a plan can still be lowered, but there is no adapter to run it on.

#[cfg(not(feature = "gpu"))]
mod absent;
#[cfg(feature = "gpu")]
mod adapters;
#[cfg(feature = "gpu")]
mod context;
mod counters;
#[cfg(feature = "gpu")]
mod execute;
pub mod lower;
mod options;
#[cfg(feature = "gpu")]
mod pipelines;
#[cfg(feature = "gpu")]
mod timing;

#[cfg(not(feature = "gpu"))]
pub(super) use absent::{Adapter, adapters};
#[cfg(not(feature = "gpu"))]
pub use absent::{Gpu, GpuContext};
#[cfg(feature = "gpu")]
pub(super) use adapters::{Adapter, adapters};
#[cfg(feature = "gpu")]
pub use context::GpuContext;
pub use counters::Counters;
#[cfg(feature = "gpu")]
pub use execute::Gpu;
pub use options::GpuOptions;
