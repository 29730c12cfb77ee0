//! Layers: explicit forward and backward, each appending launches to a plan.
//!
//! A layer owns views of its parameters and their gradients. [`Layer::forward`] returns what
//! [`Layer::backward`] will need; nothing is recorded behind the reader's back.

mod activation;
mod batch_norm;
mod convolution;
mod dense;
mod layout;
mod parameters;
mod pool;
mod reshape;
mod stack;

pub use activation::ActivationLayer;
pub use batch_norm::BatchNorm;
pub use convolution::{Conv2d, ConvTranspose2d};
pub use dense::Dense;
pub use layout::{Columns, Layout};
pub use parameters::{Init, Parameter, Parameters, Role, Tensor};
pub use pool::{AvgPool2d, MaxPool2d, Upsample2d};
pub use reshape::Reshape;
pub use stack::Stack;

use crate::buffer::{Matrix, View};
use crate::kernels::Activation;
use crate::kernels::activation::Backward;
use crate::kernels::batch_norm::Normaliser;
use crate::kernels::column_sum::{ColumnSumFinish, ColumnSumPartial, blocks};
use crate::plan::PlanBuilder;

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
    /// Where the maxima were, from layers that choose.
    pub argmax: Option<View>,
}

impl Saved {
    /// Input and output alone.
    pub fn new(x: Matrix, y: Matrix) -> Saved {
        Saved {
            x,
            y,
            normaliser: None,
            argmax: None,
        }
    }
}

/// A differentiable step from one activation matrix to the next.
pub trait Layer: std::fmt::Debug {
    /// Whether it has parameters: below the first layer that learns, nobody asks for a gradient.
    fn learns(&self) -> bool;

    /// Appends `y = f(x)` to the plan.
    fn forward(&self, plan: &mut PlanBuilder, x: Matrix, mode: Mode) -> Saved;

    /// Appends the gradients: of every parameter, and of x if `need_dx`.
    ///
    /// `dy` has the shape of `saved.y`; the result has that of `saved.x`, and may have taken its place:
    /// nobody else reads `dy` afterwards.
    fn backward(
        &self,
        plan: &mut PlanBuilder,
        saved: &Saved,
        dy: Matrix,
        need_dx: bool,
    ) -> Option<Matrix>;
}

/// Appends `dz = dy · f′(y)`; the identity takes no launch.
fn activate_backward(
    plan: &mut PlanBuilder,
    layer: &str,
    activation: Activation,
    y: Matrix,
    dy: Matrix,
) -> Matrix {
    if activation == Activation::Identity {
        return dy;
    }
    let dz = plan.temporary_matrix(format!("{layer}.dz"), dy.rows, dy.cols);
    plan.launch(
        format!("{layer} backward: activation"),
        Backward {
            y: y.view,
            dy: dy.view,
            dx: dz.view,
            activation,
        },
    );
    dz
}

/// Appends `d_bias = Σ rows of dz`.
fn sum_rows(plan: &mut PlanBuilder, layer: &str, dz: Matrix, d_bias: View) {
    let name = format!("{layer}.d_bias.partial");
    let partial = plan.temporary_matrix(name, blocks(dz.rows), dz.cols);
    plan.launch(
        format!("{layer} backward: bias, blocks"),
        ColumnSumPartial {
            x: dz,
            partial: partial.view,
        },
    );
    plan.launch(
        format!("{layer} backward: bias"),
        ColumnSumFinish {
            partial,
            sum: d_bias,
        },
    );
}
