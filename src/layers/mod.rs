//! Layers: explicit forward and backward, each appending launches to a plan.
//!
//! A layer owns views of its parameters and their gradients. [`Layer::forward`] returns what
//! [`Layer::backward`] will need; nothing is recorded behind the reader's back.

mod activation;
mod batch_norm;
mod dense;
mod parameters;
mod stack;

pub use activation::ActivationLayer;
pub use batch_norm::BatchNorm;
pub use dense::Dense;
pub use parameters::{Init, Layout, Parameter, Parameters, Role, Tensor};
pub use stack::Stack;

use crate::kernels::batch_norm::Normaliser;
use crate::plan::{Matrix, PlanBuilder};

/// Training uses a batch's own statistics and updates the running ones; evaluation uses those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Parameters are about to be updated.
    Training,
    /// Parameters and running statistics stay as they are.
    Evaluation,
}

/// What a layer's forward leaves for its backward.
#[derive(Clone, Copy, Debug)]
pub struct Saved {
    /// The input.
    pub x: Matrix,
    /// The output.
    pub y: Matrix,
    /// The batch's statistics, from layers that normalise.
    pub normaliser: Option<Normaliser>,
}

/// A differentiable step from one activation matrix to the next.
pub trait Layer: std::fmt::Debug {
    /// Name of its first parameter's module, as PyTorch's `state_dict` would have it.
    fn name(&self) -> &str;

    /// Appends `y = f(x)` to the plan.
    fn forward(&self, plan: &mut PlanBuilder, x: Matrix, mode: Mode) -> Saved;

    /// Appends the gradients: of every parameter, and of x if `need_dx`.
    ///
    /// `dy` has the shape of `saved.y`; the result has that of `saved.x`.
    fn backward(
        &self,
        plan: &mut PlanBuilder,
        saved: &Saved,
        dy: Matrix,
        need_dx: bool,
    ) -> Option<Matrix>;
}
