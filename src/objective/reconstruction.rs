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
    let (divisor, unit) = match (per, loss) {
        (Per::Element, _) => (y.view.len, Unit::PerElement),
        (Per::Image, Loss::BinaryCrossEntropy) => (y.rows, Unit::NatsPerImage),
        (Per::Image, Loss::MeanSquaredError) => (y.rows, Unit::PerImage),
    };
    let divisor = divisor as f64;
    let [rows, cols] = [y.rows, y.cols];
    let (y, target) = (y.view, target.view);
    let mut e = e.at(name, Pass::Objective);
    let note = e.note(name, unit, 1.0);
    let partial = e.reals("partial", y.len.div_ceil(BLOCK));
    e.launch(
        "blocks",
        loss::Partial {
            y,
            target,
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
    let mut e = e.at(name, Pass::Backward);
    let dy = e.reals("dy", y.len);
    e.launch(
        "",
        loss::Gradient {
            y,
            target,
            dy,
            loss,
            divisor,
        },
    );
    Gradient::new(dy.matrix(rows, cols))
}
