//! How far codes are from the standard normal distribution.

use crate::buffer::Matrix;
use crate::emit::{Emitter, Gradient, Unit};
use crate::kernels::gaussian::{KL_BLOCK, KlGradient, KlPartial};
use crate::kernels::loss::Finish;
use crate::plan::Pass;

/// Appends the Kullback–Leibler divergence of the distributions q = (μ, ln σ²), `[N, 2d]`, from the
/// standard normal: nats per image, noted as `kl`, of which `weight` counts. Returns its gradient by q.
pub fn kl_to_normal(e: &mut Emitter, weight: f64, q: Matrix) -> Gradient {
    const NAME: &str = "kl";
    let mut at = e.at(NAME, Pass::Objective);
    let note = at.note(NAME, Unit::NatsPerImage, weight);
    let partial = at.reals("partial", (q.view.len / 2).div_ceil(KL_BLOCK));
    at.launch("blocks", KlPartial { q, partial });
    let (clock, divisor) = (at.clock(), q.rows as f64);
    at.launch(
        "",
        Finish {
            partial,
            divisor,
            clock,
            note,
        },
    );
    let mut at = e.at(NAME, Pass::Backward);
    let dq = at.matrix("dq", q.rows, q.cols);
    let scale = weight / q.rows as f64;
    at.launch("", KlGradient { q, dq, scale });
    Gradient::new(dq)
}
