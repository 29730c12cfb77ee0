//! How many units of a code are active at a time.

use crate::buffer::Matrix;
use crate::emit::{Emitter, Gradient, Unit};
use crate::kernels::column_sum::{ColumnSumFinish, ColumnSumPartial, blocks};
use crate::kernels::loss::Finish;
use crate::kernels::sparsity::{BLOCK, KlGradient, KlPartial, L1Gradient, L1Partial};
use crate::plan::Pass;

/// Appends Σ |h| of each image's code, the mean over images, noted as `l1`, of which `weight` counts.
/// Returns its gradient by h.
pub fn l1_sparsity(e: &mut Emitter, weight: f64, h: Matrix) -> Gradient {
    const NAME: &str = "l1";
    let mut at = e.at(NAME, Pass::Objective);
    let note = at.note(NAME, Unit::PerImage, weight);
    let partial = at.reals("partial", h.view.len.div_ceil(BLOCK));
    at.launch("blocks", L1Partial { h: h.view, partial });
    let (clock, divisor) = (at.clock(), h.rows as f64);
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
    let dh = at.matrix("dh", h.rows, h.cols);
    at.launch(
        "",
        L1Gradient {
            h: h.view,
            dh: dh.view,
            scale: weight / h.rows as f64,
        },
    );
    Gradient::new(dh)
}

/// Appends the divergence of each unit's mean activation over the batch from `target`, summed over units:
/// nats, noted as `sparsity`, of which `weight` counts. h is in (0, 1). Returns its gradient by h.
pub fn kl_sparsity(e: &mut Emitter, target: f64, weight: f64, h: Matrix) -> Gradient {
    const NAME: &str = "sparsity";
    let mut at = e.at(NAME, Pass::Objective);
    let note = at.note(NAME, Unit::Nats, weight);
    let of_blocks = at.matrix("sums.partial", blocks(h.rows), h.cols);
    at.launch(
        "means, blocks",
        ColumnSumPartial {
            x: h,
            partial: of_blocks.view,
        },
    );
    let sums = at.reals("sums", h.cols);
    at.launch(
        "means",
        ColumnSumFinish {
            partial: of_blocks,
            sum: sums,
        },
    );
    let partial = at.reals("partial", h.cols.div_ceil(BLOCK));
    let rows = h.rows;
    at.launch(
        "blocks",
        KlPartial {
            sums,
            rows,
            target,
            partial,
        },
    );
    let clock = at.clock();
    at.launch(
        "",
        Finish {
            partial,
            divisor: 1.0,
            clock,
            note,
        },
    );
    let mut at = e.at(NAME, Pass::Backward);
    let dh = at.matrix("dh", h.rows, h.cols);
    at.launch(
        "",
        KlGradient {
            sums,
            target,
            dh,
            weight,
        },
    );
    Gradient::new(dh)
}
