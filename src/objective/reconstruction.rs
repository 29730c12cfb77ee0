//! How far a reconstruction is from its target.

use crate::buffer::Matrix;
use crate::emit::{Emitter, Gradient, Unit};
use crate::kernels::loss::{self, BLOCK, Loss};
use crate::plan::Pass;

/// What a reconstruction loss is a mean over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// All values of all images.
    Element,
    /// Images: each one's values are summed.
    Image,
}

/// Appends the loss between `y` and `target`, both `[N, features]`, noted as `name`.
/// Returns its gradient by y.
pub fn reconstruction(
    e: &mut Emitter,
    name: &str,
    loss: Loss,
    per: Per,
    y: Matrix,
    target: Matrix,
) -> Gradient {
    let divisor = noted(e, name, loss, per, y, target);
    gradient(e, name, loss, divisor, [y, target])
}

/// Appends the squared error between two activations, both `[N, features]`, noted as `name`.
/// Returns its gradients by either.
pub fn squared_error(e: &mut Emitter, name: &str, per: Per, a: Matrix, b: Matrix) -> [Gradient; 2] {
    let loss = Loss::MeanSquaredError;
    let divisor = noted(e, name, loss, per, a, b);
    [[a, b], [b, a]].map(|pair| gradient(e, name, loss, divisor, pair))
}

/// Appends the loss. Returns what its sum over elements is divided by.
fn noted(e: &mut Emitter, name: &str, loss: Loss, per: Per, y: Matrix, target: Matrix) -> f64 {
    let (divisor, unit) = match (per, loss) {
        (Per::Element, _) => (y.view.len, Unit::PerElement),
        (Per::Image, Loss::BinaryCrossEntropy) => (y.rows, Unit::NatsPerImage),
        (Per::Image, Loss::MeanSquaredError) => (y.rows, Unit::PerImage),
    };
    let divisor = divisor as f64;
    let mut e = e.at(name, Pass::Objective);
    let note = e.note(name, unit, 1.0);
    let partial = e.reals("partial", y.view.len.div_ceil(BLOCK));
    e.launch(
        "blocks",
        loss::Partial {
            y: y.view,
            target: target.view,
            partial,
            loss,
        },
    );
    let clock = e.clock();
    e.launch(
        "",
        loss::Finish {
            partial,
            divisor,
            clock,
            note,
        },
    );
    divisor
}

/// Appends the loss's gradient by y.
fn gradient(
    e: &mut Emitter,
    name: &str,
    loss: Loss,
    divisor: f64,
    [y, target]: [Matrix; 2],
) -> Gradient {
    let mut e = e.at(name, Pass::Backward);
    let dy = e.matrix("dy", y.rows, y.cols);
    e.launch(
        "",
        loss::Gradient {
            y: y.view,
            target: target.view,
            dy: dy.view,
            loss,
            divisor,
        },
    );
    Gradient::new(dy)
}
