//! Objectives: what training makes small.
//!
//! An objective notes a value for every step, in a unit that it names, and returns the gradient of each
//! operand that has one. In evaluation no launch reads the gradient, and the plan drops the
//! launches that compute it.

mod gaussian;
mod reconstruction;
mod softmax;
mod sparsity;

pub use gaussian::kl_to_normal;
pub use reconstruction::{Per, reconstruction, squared_error};
pub use softmax::{ERROR, probabilities, softmax_cross_entropy};
pub use sparsity::{kl_sparsity, l1_sparsity};
