//! How well classes are told apart.

use crate::buffer::{Matrix, View};
use crate::emit::{Emitter, Gradient, Unit};
use crate::kernels::softmax::{self, Finish, Partial, Probabilities, partial_len};
use crate::plan::Pass;

/// The note of the part of the images that a classifier takes for another class.
pub const ERROR: &str = "error";

/// Appends the softmax cross-entropy between logits `[N, classes]` and labels `[N]`: nats per image, the
/// mean over images with a label, noted as `class`. The part of them whose largest logit is not their
/// label's is noted as `error`. Returns the loss's gradient by the logits.
pub fn softmax_cross_entropy(e: &mut Emitter, logits: Matrix, labels: View) -> Gradient {
    const NAME: &str = "class";
    let mut at = e.at(NAME, Pass::Objective);
    let losses = at.note(NAME, Unit::NatsPerImage, 1.0);
    let errors = at.note(ERROR, Unit::Fraction, 0.0);
    let partial = at.reals("partial", partial_len(logits.rows));
    let labelled = at.reals("labelled", 1);
    at.launch(
        "blocks",
        Partial {
            logits,
            labels,
            partial,
        },
    );
    let clock = at.clock();
    at.launch(
        "",
        Finish {
            partial,
            clock,
            losses,
            errors,
            labelled,
        },
    );
    let mut at = e.at(NAME, Pass::Backward);
    let dy = at.matrix("dy", logits.rows, logits.cols);
    at.launch(
        "",
        softmax::Gradient {
            logits,
            labels,
            labelled,
            dy,
            weight: 1.0,
        },
    );
    Gradient::new(dy)
}

/// Appends the probability of each class, given its logits. No objective: what a classifier answers.
pub fn probabilities(e: &mut Emitter, logits: Matrix) -> Matrix {
    let mut e = e.at("softmax", Pass::Forward);
    let y = e.matrix("y", logits.rows, logits.cols);
    e.launch("", Probabilities { logits, y });
    y
}
