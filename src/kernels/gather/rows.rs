//! Gather, of rows of reals: a batch by index, and a noisy copy of it.
//!
//! ```text
//! clean[r, f] = values[order[position·R + r], f]
//! noisy[r, f] = keep · (clean[r, f] + σ·n)      n ~ N(0, 1), keep = 0 with probability p
//!
//! values [count, F];  order, clock, clean, noisy as for images
//! ```

use super::{Noise, WORDS, batch_parts};
use crate::buffer::{Cost, Matrix, Operand, View};
use crate::kernels::host::Memory;
use crate::kernels::parallel::{self, each_part};
use crate::kernels::{Dispatch, Kernel, linear_groups, shader};
use crate::scalar::Scalar;

/// A batch of rows of reals, and a noisy copy of it.
///
/// Panics when it is executed if its noise is to distort: rows are no images.
#[derive(Clone, Debug)]
pub struct GatherRows {
    /// `[count, F]`
    pub values: Matrix,
    /// Indices, at least `(position + 1) · R` of them.
    pub order: View,
    /// `[position, step]`
    pub clock: View,
    /// `[R, F]`
    pub clean: Matrix,
    /// `[R, F]`
    pub noisy: Matrix,
    /// Kind and amount of noise, without a distortion.
    pub noise: Noise,
}

impl GatherRows {
    fn check(&self) {
        assert!(self.noise.warp.is_none(), "rows of reals are no images");
    }
}

impl Kernel for GatherRows {
    const NAME: &'static str = "gather_rows";
    const SHADER: &'static str =
        shader!([] "shared/element", "shared/random", "shared/noise", "gather_rows");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("values", self.values),
            Operand::read("order", self.order),
            Operand::read("clock", self.clock),
            Operand::write("clean", self.clean),
            Operand::write("noisy", self.noisy),
        ]
    }

    fn flops(&self) -> u64 {
        self.clean.view.len as u64 * self.noise.flops()
    }

    fn cost(&self) -> Cost {
        let (rows, elements) = (self.clean.rows as u64, self.clean.view.len as u64);
        Cost {
            flops: self.flops(),
            read: 4 * (elements + rows + self.clock.len as u64),
            written: 8 * elements,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        self.check();
        let features = self.clean.cols;
        let clock = memory.index.read(self.clock);
        let (position, step) = (clock[0] as usize, clock[1]);
        let batch = &memory.index.read(self.order)[position * self.clean.rows..];
        let writes = [self.clean.view, self.noisy.view];
        let ([values], [clean, noisy]) = memory.real.access([self.values.view], writes);
        let (size, parts) = batch_parts(clean, noisy, features);
        each_part(&memory.team, parts, |_, index, (clean, noisy)| {
            parallel::simd(
                #[inline(always)]
                || {
                    let first = index * size;
                    let rows = batch[first / features..].iter();
                    for (&row, clean) in rows.zip(clean.chunks_exact_mut(features)) {
                        clean.copy_from_slice(&values[row as usize * features..][..features]);
                    }
                    noisy.copy_from_slice(clean);
                    self.noise.add_to(noisy, first, step);
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        self.check();
        let [key0, key1] = self.noise.key();
        Dispatch {
            constants: self.noise.constants(),
            dims: vec![
                self.clean.rows as u32,
                self.clean.cols as u32,
                self.noise.gaussian.to_bits(),
                self.noise.mask_below(),
                key0,
                key1,
                self.noise.streams.gaussian,
                self.noise.streams.masking,
            ],
            groups: linear_groups(self.clean.view.len.div_ceil(WORDS)),
        }
    }
}
