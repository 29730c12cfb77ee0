//! Sparsity of a code: few of its units should be active at a time.
//!
//! ```text
//! L1        Σ |h| / N                               dh = w sign(h) / N, 0 at 0
//! KL        Σ_j KL(ρ ‖ ρ̂_j),  ρ̂_j = Σ_r h[r, j] / N   the mean activation of unit j
//!           KL(ρ ‖ ρ̂) = ρ ln(ρ/ρ̂) + (1−ρ) ln((1−ρ)/(1−ρ̂))
//! gradient  dh[r, j] = w (−ρ/ρ̂_j + (1−ρ)/(1−ρ̂_j)) / N
//!
//! h, dh [N, H];  sums [H], Σ_r h[r, ·];  partial [⌈elements / BLOCK⌉]
//! ```
//! The divergence wants activations in (0, 1), a sigmoid's. Where a mean is 0 or 1 it is infinite.
//!
//! Source: Ng, “Sparse autoencoder” (CS294A lecture notes, 2011).

use super::parallel::{self, chunks_of, each_part};
use super::{Dispatch, Kernel, linear_groups, shader};
use crate::buffer::{Matrix, Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: one element or one unit at a time, in f64.
pub mod definition {
    /// An element's term of L1.
    pub fn l1(h: f64) -> f64 {
        h.abs()
    }

    /// The derivative of [`l1`].
    pub fn l1_slope(h: f64) -> f64 {
        if h == 0.0 { 0.0 } else { h.signum() }
    }

    /// KL(ρ ‖ ρ̂)
    pub fn kl(target: f64, mean: f64) -> f64 {
        target * (target / mean).ln() + (1.0 - target) * ((1.0 - target) / (1.0 - mean)).ln()
    }

    /// The derivative of [`kl`] by ρ̂.
    pub fn kl_slope(target: f64, mean: f64) -> f64 {
        -target / mean + (1.0 - target) / (1.0 - mean)
    }
}

/// Elements summed by one block of the first pass.
pub const BLOCK: usize = 1024;

/// First pass of L1: each block's Σ |h|.
#[derive(Clone, Debug)]
pub struct L1Partial {
    /// `[N, H]`
    pub h: View,
    /// `[⌈N H / BLOCK⌉]`
    pub partial: View,
}

impl Kernel for L1Partial {
    const NAME: &'static str = "sparsity_l1_partial";
    const SHADER: &'static str = shader!([BLOCK = BLOCK] "shared/block_sum", "sparsity_l1_partial");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("h", self.h),
            Operand::write("partial", self.partial),
        ]
    }

    fn flops(&self) -> u64 {
        2 * self.h.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([h], [partial]) = memory.real.access([self.h], [self.partial]);
        each_part(&memory.team, chunks_of(partial, 1), |_, block, partial| {
            let h = &h[block * BLOCK..h.len().min((block + 1) * BLOCK)];
            partial[0] = h.iter().map(|h| h.abs()).sum();
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.h.len as u32],
            // One work-group per block.
            groups: linear_groups(self.partial.len * super::GROUP),
        }
    }
}

/// The gradient of L1.
#[derive(Clone, Debug)]
pub struct L1Gradient {
    /// `[N, H]`
    pub h: View,
    /// `[N, H]`
    pub dh: View,
    /// w / N
    pub scale: f64,
}

impl Kernel for L1Gradient {
    const NAME: &'static str = "sparsity_l1_gradient";
    const SHADER: &'static str = shader!([] "shared/element", "sparsity_l1_gradient");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("h", self.h), Operand::write("dh", self.dh)]
    }

    fn flops(&self) -> u64 {
        self.h.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([h], [dh]) = memory.real.access([self.h], [self.dh]);
        let scale = T::of(self.scale);
        parallel::chunks(&memory.team, dh, 1, |first, dh| {
            for (dh, &h) in dh.iter_mut().zip(&h[first..]) {
                *dh = if h == T::zero() {
                    T::zero()
                } else {
                    scale * h.signum()
                };
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.h.len as u32, (self.scale as f32).to_bits()],
            groups: linear_groups(self.h.len),
        }
    }
}

/// First pass of the divergence: each block's sum over units.
#[derive(Clone, Debug)]
pub struct KlPartial {
    /// `[H]`
    pub sums: View,
    /// N
    pub rows: usize,
    /// ρ
    pub target: f64,
    /// `[⌈H / BLOCK⌉]`
    pub partial: View,
}

impl Kernel for KlPartial {
    const NAME: &'static str = "sparsity_kl_partial";
    const SHADER: &'static str = shader!([BLOCK = BLOCK] "shared/block_sum", "sparsity_kl_partial");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("sums", self.sums),
            Operand::write("partial", self.partial),
        ]
    }

    fn flops(&self) -> u64 {
        9 * self.sums.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([sums], [partial]) = memory.real.access([self.sums], [self.partial]);
        let [rows, target] = [self.rows as f64, self.target].map(T::of);
        for (partial, sums) in partial.iter_mut().zip(sums.chunks(BLOCK)) {
            let terms = sums.iter().map(|&sum| {
                let (mean, rest) = (sum / rows, T::one() - target);
                target * (target / mean).ln() + rest * (rest / (T::one() - mean)).ln()
            });
            *partial = terms.sum();
        }
    }

    fn gpu(&self) -> Dispatch {
        let bits = |value: f64| (value as f32).to_bits();
        Dispatch {
            constants: vec![],
            dims: vec![
                self.sums.len as u32,
                bits(self.rows as f64),
                bits(self.target),
            ],
            // One work-group per block.
            groups: linear_groups(self.partial.len * super::GROUP),
        }
    }
}

/// The gradient of the divergence: the same for every row.
#[derive(Clone, Debug)]
pub struct KlGradient {
    /// `[H]`
    pub sums: View,
    /// ρ
    pub target: f64,
    /// `[N, H]`
    pub dh: Matrix,
    /// w
    pub weight: f64,
}

impl Kernel for KlGradient {
    const NAME: &'static str = "sparsity_kl_gradient";
    const SHADER: &'static str = shader!([] "shared/element", "sparsity_kl_gradient");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("sums", self.sums),
            Operand::write("dh", self.dh),
        ]
    }

    fn flops(&self) -> u64 {
        7 * self.dh.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let Matrix { rows, cols, view } = self.dh;
        let ([sums], [dh]) = memory.real.access([self.sums], [view]);
        let [rows, target] = [rows as f64, self.target].map(T::of);
        let scale = T::of(self.weight) / rows;
        each_part(&memory.team, chunks_of(dh, cols), |_, _, dh| {
            for (dh, &sum) in dh.iter_mut().zip(sums) {
                let mean = sum / rows;
                let slope = (T::one() - target) / (T::one() - mean) - target / mean;
                *dh = scale * slope;
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        let bits = |value: f64| (value as f32).to_bits();
        Dispatch {
            constants: vec![],
            dims: vec![
                self.dh.rows as u32,
                self.dh.cols as u32,
                bits(self.target),
                bits(self.weight),
            ],
            groups: linear_groups(self.dh.view.len),
        }
    }
}
