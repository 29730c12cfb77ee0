//! Clipping gradients by their global norm.
//!
//! ```text
//! norm     ‖g‖ = √Σ g²                      over all parameters of a group
//! factor   c = min(1, limit / (‖g‖ + 1e-6))
//! scale    g ← c g
//!
//! g [len];  partial [⌈len / BLOCK⌉];  norm, factor [1]
//! ```
//! A norm that is not a number makes the factor, and with it all gradients, no number either.
//!
//! Source: Pascanu, Mikolov, Bengio, “On the difficulty of training recurrent neural networks” (ICML
//! 2013), with the constant of PyTorch's `clip_grad_norm_`.

use super::parallel::{self, chunks_of, each_part};
use super::{Dispatch, Kernel, linear_groups, shader};
use crate::buffer::{Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: all gradients, in f64.
pub mod definition {
    /// g ← c g
    pub fn clip(gradients: &mut [f64], limit: f64) {
        let norm = gradients.iter().map(|g| g * g).sum::<f64>().sqrt();
        let factor = (limit / (norm + 1e-6)).min(1.0);
        for g in gradients {
            *g *= factor;
        }
    }
}

/// Elements summed by one block of the first pass.
pub const BLOCK: usize = 4096;

/// First pass: each block's sum of squares.
#[derive(Clone, Debug)]
pub struct Partial {
    /// g
    pub gradients: View,
    /// `[⌈len / BLOCK⌉]`
    pub partial: View,
}

impl Kernel for Partial {
    const NAME: &'static str = "norm_clip_partial";
    const SHADER: &'static str = shader!([BLOCK = BLOCK] "shared/block_sum", "norm_clip_partial");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("g", self.gradients),
            Operand::write("partial", self.partial),
        ]
    }

    fn flops(&self) -> u64 {
        2 * self.gradients.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        /// Sums kept side by side: a vector register's worth.
        const LANES: usize = 16;
        let ([g], [partial]) = memory.real.access([self.gradients], [self.partial]);
        each_part(&memory.team, chunks_of(partial, 1), |_, block, partial| {
            let g = &g[block * BLOCK..g.len().min((block + 1) * BLOCK)];
            parallel::simd(
                #[inline(always)]
                || {
                    let mut lanes = [T::zero(); LANES];
                    for g in g.chunks(LANES) {
                        for (lane, &g) in lanes.iter_mut().zip(g) {
                            *lane += g * g;
                        }
                    }
                    partial[0] = lanes.into_iter().sum();
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.gradients.len as u32],
            // One work-group per block.
            groups: linear_groups(self.partial.len * super::GROUP),
        }
    }
}

/// Second pass: the norm and the factor.
#[derive(Clone, Debug)]
pub struct Finish {
    /// From [`Partial`].
    pub partial: View,
    /// The largest norm that stays as it is.
    pub limit: f64,
    /// `[1]`
    pub norm: View,
    /// `[1]`
    pub factor: View,
}

impl Kernel for Finish {
    const NAME: &'static str = "norm_clip_finish";
    const SHADER: &'static str = shader!("norm_clip_finish");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("partial", self.partial),
            Operand::write("norm", self.norm),
            Operand::write("factor", self.factor),
        ]
    }

    fn flops(&self) -> u64 {
        self.partial.len as u64 + 4
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let writes = [self.norm, self.factor];
        let ([partial], [norm, factor]) = memory.real.access([self.partial], writes);
        norm[0] = partial.iter().copied().sum::<T>().sqrt();
        let quotient = T::of(self.limit) / (norm[0] + T::of(1e-6));
        // Not `min`, which would turn a NaN into 1 and hide it.
        factor[0] = if quotient > T::one() {
            T::one()
        } else {
            quotient
        };
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.partial.len as u32, (self.limit as f32).to_bits()],
            groups: [1, 1, 1],
        }
    }
}

/// Third pass: every gradient times the factor.
#[derive(Clone, Debug)]
pub struct Scale {
    /// g
    pub gradients: View,
    /// `[1]`
    pub factor: View,
}

impl Kernel for Scale {
    const NAME: &'static str = "norm_clip_scale";
    const SHADER: &'static str = shader!([] "shared/element", "norm_clip_scale");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("factor", self.factor),
            Operand::update("g", self.gradients),
        ]
    }

    fn flops(&self) -> u64 {
        self.gradients.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([factor], [g]) = memory.real.access([self.factor], [self.gradients]);
        let factor = factor[0];
        parallel::chunks(&memory.team, g, 1, |_, g| {
            parallel::simd(
                #[inline(always)]
                || g.iter_mut().for_each(|g| *g *= factor),
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.gradients.len as u32],
            groups: linear_groups(self.gradients.len),
        }
    }
}
