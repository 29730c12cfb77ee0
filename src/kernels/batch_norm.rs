//! Batch normalisation over the rows of `[N, C]`, with the activation that follows it fused in.
//!
//! ```text
//! forward    mean = Σ x / N,  var = Σ (x − mean)² / N,  inv_std = 1 / √(var + ε)
//!            x̂ = (x − mean) · inv_std
//!            y = f(γ x̂ + β)
//!            running_mean ← (1 − momentum) running_mean + momentum · mean
//!            running_var  ← (1 − momentum) running_var  + momentum · var · N/(N − 1)
//! backward   g  = dy · f′(y)
//!            dβ = Σ g,  dγ = Σ g x̂
//!            dx = γ inv_std (g − (dβ + x̂ dγ) / N)
//!
//! x, y, dy, dx [N, C], dx in the place of dy;  γ, β, mean, inv_std, running_* [C]
//! ```
//! Forward saves x, y, mean and inv_std for backward. Channels last, so this is PyTorch's
//! `BatchNorm1d` for dense layers and `BatchNorm2d` for images (N = samples · positions), with its
//! defaults: biased variance to normalise, unbiased for the running estimate, momentum 0.1,
//! ε = 1e-5.
//!
//! Sums over rows run in two passes: [`Moments`] and [`BackwardPartial`] reduce blocks of
//! [`ROWS_PER_BLOCK`] rows, [`Statistics`] and [`BackwardFinish`] combine the blocks in order.
//!
//! Source: Ioffe and Szegedy, “Batch normalization” (ICML 2015); the blocks' moments combine as in
//! Chan, Golub and LeVeque, “Updating formulae and a pairwise algorithm” (1979).

mod backward;
pub mod definition;

pub use backward::{BackwardApply, BackwardFinish, BackwardPartial, Saved};

use super::activation::with_activation;
use super::column_sum::{blocks, partial_groups};
use super::parallel::{Columns, chunks_of, each_column, each_part, piece};
use super::{Activation, Dispatch, Kernel, ROWS_PER_BLOCK, linear_groups, parallel, shader};
use crate::buffer::{Matrix, Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// PyTorch's defaults.
pub const EPSILON: f64 = 1e-5;
/// Weight of the newest batch in the running estimates.
pub const MOMENTUM: f64 = 0.1;

/// Mean and reciprocal standard deviation of each channel, `[C]` both.
#[derive(Clone, Copy, Debug)]
pub struct Normaliser {
    /// mean
    pub mean: View,
    /// inv_std
    pub inv_std: View,
}

/// First pass forward: each block's mean and Σ (x − its mean)².
#[derive(Clone, Debug)]
pub struct Moments {
    /// `[N, C]`
    pub x: Matrix,
    /// `[blocks, 2, C]`
    pub partial: View,
}

impl Kernel for Moments {
    const NAME: &'static str = "batch_norm_moments";
    const SHADER: &'static str =
        shader!([ROWS_PER_BLOCK = ROWS_PER_BLOCK] "shared/column_of_block", "batch_norm_moments");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.x),
            Operand::write("partial", self.partial),
        ]
    }

    fn flops(&self) -> u64 {
        4 * self.x.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let c = self.x.cols;
        let ([x], [partial]) = memory.real.access([self.x.view], [self.partial]);
        each_part(
            &memory.team,
            chunks_of(partial, 2 * c),
            |_, index, partial| {
                let first = index * ROWS_PER_BLOCK * c;
                let end = x.len().min(first + ROWS_PER_BLOCK * c);
                let (mean, squares) = partial.split_at_mut(c);
                let block = &x[first..end];
                let moments = ColumnMoments {
                    block,
                    mean,
                    squares,
                };
                each_column(c, moments);
            },
        );
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.x.rows as u32, self.x.cols as u32],
            groups: partial_groups(self.x.rows, self.x.cols),
        }
    }
}

/// Mean of each column of a block and the sum of squared deviations from it.
struct ColumnMoments<'a, T> {
    block: &'a [T],
    mean: &'a mut [T],
    squares: &'a mut [T],
}

impl<T: Scalar> Columns for ColumnMoments<'_, T> {
    #[inline(always)]
    fn run<const WIDTH: usize>(&mut self, first: usize) {
        let c = self.mean.len();
        let scale = T::one() / T::of((self.block.len() / c) as f64);
        let mut mean = [T::zero(); WIDTH];
        for row in self.block.chunks_exact(c) {
            let x: &[T; WIDTH] = piece(row, first);
            for i in 0..WIDTH {
                mean[i] += x[i];
            }
        }
        mean.iter_mut().for_each(|mean| *mean *= scale);
        let mut squares = [T::zero(); WIDTH];
        for row in self.block.chunks_exact(c) {
            let x: &[T; WIDTH] = piece(row, first);
            for i in 0..WIDTH {
                squares[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
            }
        }
        self.mean[first..first + WIDTH].copy_from_slice(&mean);
        self.squares[first..first + WIDTH].copy_from_slice(&squares);
    }
}

/// Second pass forward: the batch's statistics, and the running ones updated.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// `[blocks, 2, C]` from [`Moments`]
    pub partial: View,
    /// N
    pub rows: usize,
    /// To be written.
    pub normaliser: Normaliser,
    /// `[C]`
    pub running_mean: View,
    /// `[C]`
    pub running_var: View,
}

impl Kernel for Statistics {
    const NAME: &'static str = "batch_norm_statistics";
    const SHADER: &'static str =
        shader!([ROWS_PER_BLOCK = ROWS_PER_BLOCK] "shared/element", "batch_norm_statistics");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("partial", self.partial),
            Operand::write("mean", self.normaliser.mean),
            Operand::write("inv_std", self.normaliser.inv_std),
            Operand::update("running_mean", self.running_mean),
            Operand::update("running_var", self.running_var),
        ]
    }

    fn flops(&self) -> u64 {
        3 * self.partial.len as u64 + 12 * self.running_mean.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let c = self.running_mean.len;
        let ([partial], [mean, inv_std, running_mean, running_var]) = memory.real.access(
            [self.partial],
            [
                self.normaliser.mean,
                self.normaliser.inv_std,
                self.running_mean,
                self.running_var,
            ],
        );
        let n = T::of(self.rows as f64);
        // inv_std holds Σ (x − mean)² until the end.
        let moments = CombinedMoments {
            partial,
            rows: self.rows,
            mean,
            squares: inv_std,
        };
        each_column(c, moments);
        let momentum = T::of(MOMENTUM);
        for i in 0..c {
            let squares = inv_std[i];
            let unbiased = squares / (n - T::one());
            running_mean[i] += momentum * (mean[i] - running_mean[i]);
            running_var[i] += momentum * (unbiased - running_var[i]);
            inv_std[i] = T::one() / (squares / n + T::of(EPSILON)).sqrt();
        }
    }

    fn gpu(&self) -> Dispatch {
        let c = self.running_mean.len;
        Dispatch {
            constants: vec![],
            dims: vec![
                self.rows as u32,
                c as u32,
                (EPSILON as f32).to_bits(),
                (MOMENTUM as f32).to_bits(),
            ],
            groups: linear_groups(c),
        }
    }
}

/// Mean of each column of all blocks and the sum of squared deviations from it.
struct CombinedMoments<'a, T> {
    partial: &'a [T],
    rows: usize,
    mean: &'a mut [T],
    squares: &'a mut [T],
}

impl<T: Scalar> Columns for CombinedMoments<'_, T> {
    #[inline(always)]
    fn run<const WIDTH: usize>(&mut self, first: usize) {
        let c = self.mean.len();
        let rows_of =
            |block: usize| T::of(ROWS_PER_BLOCK.min(self.rows - block * ROWS_PER_BLOCK) as f64);
        let mut mean = [T::zero(); WIDTH];
        for (block, partial) in self.partial.chunks_exact(2 * c).enumerate() {
            let (rows, block_mean): (T, &[T; WIDTH]) = (rows_of(block), piece(partial, first));
            for i in 0..WIDTH {
                mean[i] += rows * block_mean[i];
            }
        }
        mean.iter_mut()
            .for_each(|mean| *mean /= T::of(self.rows as f64));
        let mut squares = [T::zero(); WIDTH];
        for (block, partial) in self.partial.chunks_exact(2 * c).enumerate() {
            let (rows, block_mean): (T, &[T; WIDTH]) = (rows_of(block), piece(partial, first));
            let block_squares: &[T; WIDTH] = piece(partial, c + first);
            for i in 0..WIDTH {
                let shift = block_mean[i] - mean[i];
                squares[i] += block_squares[i] + rows * shift * shift;
            }
        }
        self.mean[first..first + WIDTH].copy_from_slice(&mean);
        self.squares[first..first + WIDTH].copy_from_slice(&squares);
    }
}

/// In evaluation the running statistics take the place of the batch's.
#[derive(Clone, Debug)]
pub struct Evaluate {
    /// `[C]`
    pub running_mean: View,
    /// `[C]`
    pub running_var: View,
    /// To be written.
    pub normaliser: Normaliser,
}

impl Kernel for Evaluate {
    const NAME: &'static str = "batch_norm_evaluate";
    const SHADER: &'static str = shader!([] "shared/element", "batch_norm_evaluate");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("running_mean", self.running_mean),
            Operand::read("running_var", self.running_var),
            Operand::write("mean", self.normaliser.mean),
            Operand::write("inv_std", self.normaliser.inv_std),
        ]
    }

    fn flops(&self) -> u64 {
        3 * self.running_var.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([running_mean, running_var], [mean, inv_std]) = memory.real.access(
            [self.running_mean, self.running_var],
            [self.normaliser.mean, self.normaliser.inv_std],
        );
        mean.copy_from_slice(running_mean);
        for (inv_std, &var) in inv_std.iter_mut().zip(running_var) {
            *inv_std = T::one() / (var + T::of(EPSILON)).sqrt();
        }
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.running_mean.len as u32, (EPSILON as f32).to_bits()],
            groups: linear_groups(self.running_mean.len),
        }
    }
}

/// `y = f(γ (x − mean) · inv_std + β)`, in training and in evaluation.
#[derive(Clone, Debug)]
pub struct Apply {
    /// `[N, C]`
    pub x: Matrix,
    /// The batch's, or the running, statistics.
    pub normaliser: Normaliser,
    /// γ `[C]`
    pub gamma: View,
    /// β `[C]`
    pub beta: View,
    /// `[N, C]`
    pub y: Matrix,
    /// f
    pub activation: Activation,
}

impl Kernel for Apply {
    const NAME: &'static str = "batch_norm_apply";
    const SHADER: &'static str = shader!([] "shared/element", "shared/exp_minus_one", "shared/activation", "batch_norm_apply");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.x),
            Operand::read("mean", self.normaliser.mean),
            Operand::read("inv_std", self.normaliser.inv_std),
            Operand::read("gamma", self.gamma),
            Operand::read("beta", self.beta),
            Operand::write("y", self.y),
        ]
    }

    fn formula(&self) -> String {
        self.activation.of("γ·x̂ + β")
    }

    fn flops(&self) -> u64 {
        self.x.view.len as u64 * (4 + self.activation.flops())
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let c = self.x.cols;
        let ([x, mean, inv_std, gamma, beta], [y]) = memory.real.access(
            [
                self.x.view,
                self.normaliser.mean,
                self.normaliser.inv_std,
                self.gamma,
                self.beta,
            ],
            [self.y.view],
        );
        parallel::chunks(&memory.team, y, c, |first, y| {
            let rows = x[first..].chunks_exact(c).zip(y.chunks_exact_mut(c));
            parallel::simd(
                #[inline(always)]
                || {
                    with_activation!(self.activation, F => {
                        for (x, y) in rows {
                            let channels = mean.iter().zip(inv_std).zip(gamma).zip(beta);
                            for ((y, &x), (((&mean, &inv_std), &gamma), &beta)) in
                                y.iter_mut().zip(x).zip(channels)
                            {
                                *y = F.apply(gamma * ((x - mean) * inv_std) + beta);
                            }
                        }
                    });
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![("ACTIVATION", self.activation.code())],
            dims: vec![self.x.rows as u32, self.x.cols as u32],
            groups: linear_groups(self.x.view.len),
        }
    }
}

/// Elements of the partial buffer for `rows` rows of `cols` channels.
pub fn partial_len(rows: usize, cols: usize) -> usize {
    blocks(rows) * 2 * cols
}
