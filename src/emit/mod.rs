//! Emission: how layers, objectives and models write launches into a plan.
//!
//! An [`Emission`] wraps the plan's builder for as long as a plan is written. Each of its routines is
//! written through an [`Emitter`], which adds what the builder does not know: labels, which gradient
//! of a parameter comes first, random streams, notes and optimisers.

mod emitter;
mod gradient;
mod group;
mod layout;
mod notes;
mod parameters;

pub use emitter::{Emission, Emitted, Emitter, Mode, SUM_OVER_USES, Witness};
pub use gradient::{Gradient, SUM_OVER_BRANCHES};
pub use group::{Group, Optimiser};
pub use layout::{Columns, Layout};
pub use notes::{Note, Unit};
pub use parameters::{Init, Parameter, Parameters, Role, Tensor, initial_values};
