//! Layers: explicit forward and backward, each appending launches to a plan.
//!
//! A layer owns views of its parameters and their gradients. [`Layer::forward`] returns what
//! [`Layer::backward`] will need; nothing is recorded behind the reader's back.
//!
//! What has two inputs or two outputs, such as [`Join`], is no [`Layer`]: it has methods of its own
//! shape.

mod activation;
mod batch_norm;
mod convolution;
mod dense;
mod dropout;
mod gaussian_sample;
mod join;
mod pool;
mod reshape;
mod stack;

pub use activation::ActivationLayer;
pub use batch_norm::BatchNorm;
pub use convolution::{Conv2d, ConvTranspose2d};
pub use dense::Dense;
pub use dropout::Dropout;
pub use gaussian_sample::GaussianSample;
pub use join::{Join, Joined};
pub use pool::{AvgPool2d, MaxPool2d, Upsample2d};
pub use reshape::Reshape;
pub use stack::Stack;

use crate::buffer::{Matrix, View};
use crate::emit::{Emitter, Gradient};
use crate::kernels::Activation;
use crate::kernels::activation::Backward;
use crate::kernels::column_sum::{ColumnSumFinish, ColumnSumPartial, blocks};

/// A differentiable step from one activation matrix to the next.
pub trait Layer: std::fmt::Debug + Send + Sync {
    /// What forward leaves for backward.
    type Saved: 'static;

    /// Appends `y = f(x)`. Returns y.
    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Self::Saved);

    /// Appends the gradients of every parameter and of x, given that of y. Returns that of x.
    fn backward(&self, e: &mut Emitter, saved: Self::Saved, dy: Gradient) -> Gradient;
}

/// Appends `dz = dy · f′`, from y, or from x if the activation reads it; the identity takes no launch.
fn activate_backward(
    e: &mut Emitter,
    activation: Activation,
    saved: Matrix,
    dy: Gradient,
) -> Gradient {
    if activation == Activation::Identity {
        return dy;
    }
    let dz = e.matrix("dz", saved.rows, saved.cols);
    e.launch(
        "activation",
        Backward {
            saved: saved.view,
            dy: dy.matrix().view,
            dx: dz.view,
            activation,
        },
    );
    Gradient::new(dz)
}

/// Appends `d_bias = Σ rows of dz`.
fn sum_rows(e: &mut Emitter, dz: &Gradient, d_bias: View) {
    let dz = dz.matrix();
    let partial = e.matrix("d_bias.partial", blocks(dz.rows), dz.cols);
    e.launch(
        "bias, blocks",
        ColumnSumPartial {
            x: dz,
            partial: partial.view,
        },
    );
    e.launch(
        "bias",
        ColumnSumFinish {
            partial,
            sum: d_bias,
        },
    );
}

/// Panics if an activation cannot be fused behind the layer of this name.
fn assert_fusible(layer: &str, activation: Activation) {
    assert!(
        !activation.reads_input(),
        "{layer}: {} reads its input and needs a layer of its own",
        activation.name()
    );
}
