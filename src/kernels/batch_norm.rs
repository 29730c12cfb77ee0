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
//! x, y, dy, dx [N, C];  γ, β, mean, inv_std, running_* [C]
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

use rayon::prelude::*;

use super::column_sum::{blocks, partial_groups};
use super::parallel::with_activation;
use super::{Activation, Dispatch, Kernel, ROWS_PER_BLOCK, linear_groups, parallel, shader};
use crate::device::cpu::Memory;
use crate::plan::{Matrix, Operand, View};
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
    const SHADER: &'static str = shader!("batch_norm_moments");

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
        partial
            .par_chunks_mut(2 * c)
            .zip(x.par_chunks(ROWS_PER_BLOCK * c))
            .for_each(|(partial, block)| {
                let (mean, squares) = partial.split_at_mut(c);
                parallel::simd(
                    #[inline(always)]
                    || moments(block, mean, squares),
                );
            });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.x.rows as u32, self.x.cols as u32],
            groups: partial_groups(self.x.rows, self.x.cols),
        }
    }
}

/// Mean of each column and the sum of squared deviations from it.
#[inline(always)]
fn moments<T: Scalar>(block: &[T], mean: &mut [T], squares: &mut [T]) {
    let c = mean.len();
    let scale = T::one() / T::of((block.len() / c) as f64);
    mean.fill(T::zero());
    squares.fill(T::zero());
    for row in block.chunks_exact(c) {
        for (mean, &x) in mean.iter_mut().zip(row) {
            *mean += x;
        }
    }
    mean.iter_mut().for_each(|mean| *mean *= scale);
    for row in block.chunks_exact(c) {
        for ((squares, &mean), &x) in squares.iter_mut().zip(&*mean).zip(row) {
            *squares += (x - mean) * (x - mean);
        }
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
    const SHADER: &'static str = shader!("batch_norm_statistics");

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
        let n = T::of(self.rows as f64);
        let rows_of =
            |block: usize| T::of(ROWS_PER_BLOCK.min(self.rows - block * ROWS_PER_BLOCK) as f64);
        let ([partial], [mean, inv_std, running_mean, running_var]) = memory.real.access(
            [self.partial],
            [
                self.normaliser.mean,
                self.normaliser.inv_std,
                self.running_mean,
                self.running_var,
            ],
        );
        mean.fill(T::zero());
        for (block, partial) in partial.chunks_exact(2 * c).enumerate() {
            for (mean, &block_mean) in mean.iter_mut().zip(partial) {
                *mean += rows_of(block) * block_mean;
            }
        }
        mean.iter_mut().for_each(|mean| *mean /= n);
        // inv_std holds Σ (x − mean)² until the end.
        inv_std.fill(T::zero());
        for (block, partial) in partial.chunks_exact(2 * c).enumerate() {
            let (block_mean, squares) = partial.split_at(c);
            for i in 0..c {
                let shift = block_mean[i] - mean[i];
                inv_std[i] += squares[i] + rows_of(block) * shift * shift;
            }
        }
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
            dims: vec![self.rows as u32, c as u32],
            groups: linear_groups(c),
        }
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
    const SHADER: &'static str = shader!("batch_norm_evaluate");

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
            dims: vec![self.running_mean.len as u32],
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
    const SHADER: &'static str = shader!("shared/activation", "batch_norm_apply");

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
        let apply = |x: &[T], y: &mut [T]| {
            let channels = mean.iter().zip(inv_std).zip(gamma).zip(beta);
            with_activation!(self.activation, F => {
                for ((y, &x), (((&mean, &inv_std), &gamma), &beta)) in
                    y.iter_mut().zip(x).zip(channels)
                {
                    *y = F.apply(gamma * ((x - mean) * inv_std) + beta);
                }
            });
        };
        parallel::chunks(y, c, |first, y| {
            for (x, y) in x[first..].chunks_exact(c).zip(y.chunks_exact_mut(c)) {
                parallel::simd(
                    #[inline(always)]
                    || apply(x, y),
                );
            }
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

/// What the two backward passes over the rows read.
#[derive(Clone, Copy, Debug)]
pub struct Saved {
    /// `[N, C]`
    pub x: Matrix,
    /// `[N, C]`
    pub y: Matrix,
    /// The batch's statistics.
    pub normaliser: Normaliser,
    /// f
    pub activation: Activation,
}

/// First pass backward: each block's Σ g and Σ g x̂.
#[derive(Clone, Debug)]
pub struct BackwardPartial {
    /// What forward saved.
    pub saved: Saved,
    /// `[N, C]`
    pub dy: Matrix,
    /// `[blocks, 2, C]`
    pub partial: View,
}

impl Kernel for BackwardPartial {
    const NAME: &'static str = "batch_norm_backward_partial";
    const SHADER: &'static str = shader!("shared/activation", "batch_norm_backward_partial");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.saved.x),
            Operand::read("y", self.saved.y),
            Operand::read("mean", self.saved.normaliser.mean),
            Operand::read("inv_std", self.saved.normaliser.inv_std),
            Operand::read("dy", self.dy),
            Operand::write("partial", self.partial),
        ]
    }

    fn flops(&self) -> u64 {
        7 * self.dy.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let c = self.dy.cols;
        let activation = self.saved.activation;
        let ([x, y, mean, inv_std, dy], [partial]) = memory.real.access(
            [
                self.saved.x.view,
                self.saved.y.view,
                self.saved.normaliser.mean,
                self.saved.normaliser.inv_std,
                self.dy.view,
            ],
            [self.partial],
        );
        let block = |block: usize, partial: &mut [T]| {
            let first = block * ROWS_PER_BLOCK * c;
            let end = (first + ROWS_PER_BLOCK * c).min(dy.len());
            let (sum_g, sum_gx) = partial.split_at_mut(c);
            sum_g.fill(T::zero());
            sum_gx.fill(T::zero());
            let rows = x[first..end]
                .chunks_exact(c)
                .zip(y[first..end].chunks_exact(c));
            for ((x, y), dy) in rows.zip(dy[first..end].chunks_exact(c)) {
                let values = x.iter().zip(y).zip(dy).zip(mean).zip(inv_std);
                let sums = sum_g.iter_mut().zip(sum_gx.iter_mut());
                with_activation!(activation, F => {
                    for ((sum_g, sum_gx), ((((&x, &y), &dy), &mean), &inv_std)) in sums.zip(values) {
                        let g = dy * F.slope(y);
                        *sum_g += g;
                        *sum_gx += g * ((x - mean) * inv_std);
                    }
                });
            }
        };
        partial
            .par_chunks_mut(2 * c)
            .enumerate()
            .for_each(|(index, partial)| {
                parallel::simd(
                    #[inline(always)]
                    || block(index, partial),
                );
            });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![("ACTIVATION", self.saved.activation.code())],
            dims: vec![self.dy.rows as u32, self.dy.cols as u32],
            groups: partial_groups(self.dy.rows, self.dy.cols),
        }
    }
}

/// Second pass backward: dβ and dγ.
#[derive(Clone, Debug)]
pub struct BackwardFinish {
    /// `[blocks, 2, C]` from [`BackwardPartial`]
    pub partial: View,
    /// `[C]`
    pub d_gamma: View,
    /// `[C]`
    pub d_beta: View,
}

impl Kernel for BackwardFinish {
    const NAME: &'static str = "batch_norm_backward_finish";
    const SHADER: &'static str = shader!("batch_norm_backward_finish");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("partial", self.partial),
            Operand::write("d_gamma", self.d_gamma),
            Operand::write("d_beta", self.d_beta),
        ]
    }

    fn flops(&self) -> u64 {
        self.partial.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let c = self.d_beta.len;
        let ([partial], [d_gamma, d_beta]) = memory
            .real
            .access([self.partial], [self.d_gamma, self.d_beta]);
        d_gamma.fill(T::zero());
        d_beta.fill(T::zero());
        for partial in partial.chunks_exact(2 * c) {
            let (sum_g, sum_gx) = partial.split_at(c);
            for i in 0..c {
                d_beta[i] += sum_g[i];
                d_gamma[i] += sum_gx[i];
            }
        }
    }

    fn gpu(&self) -> Dispatch {
        let c = self.d_beta.len;
        Dispatch {
            constants: vec![],
            dims: vec![(self.partial.len / (2 * c)) as u32, c as u32],
            groups: linear_groups(c),
        }
    }
}

/// Third pass backward: dx.
#[derive(Clone, Debug)]
pub struct BackwardApply {
    /// What forward saved.
    pub saved: Saved,
    /// `[N, C]`
    pub dy: Matrix,
    /// γ `[C]`
    pub gamma: View,
    /// `[C]` from [`BackwardFinish`]
    pub d_gamma: View,
    /// `[C]` from [`BackwardFinish`]
    pub d_beta: View,
    /// `[N, C]`
    pub dx: Matrix,
}

impl Kernel for BackwardApply {
    const NAME: &'static str = "batch_norm_backward_apply";
    const SHADER: &'static str = shader!("shared/activation", "batch_norm_backward_apply");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.saved.x),
            Operand::read("y", self.saved.y),
            Operand::read("mean", self.saved.normaliser.mean),
            Operand::read("inv_std", self.saved.normaliser.inv_std),
            Operand::read("dy", self.dy),
            Operand::read("gamma", self.gamma),
            Operand::read("d_gamma", self.d_gamma),
            Operand::read("d_beta", self.d_beta),
            Operand::write("dx", self.dx),
        ]
    }

    fn flops(&self) -> u64 {
        10 * self.dx.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let c = self.dx.cols;
        let activation = self.saved.activation;
        let per_row = T::one() / T::of(self.dx.rows as f64);
        let ([x, y, mean, inv_std, dy, gamma, d_gamma, d_beta], [dx]) = memory.real.access(
            [
                self.saved.x.view,
                self.saved.y.view,
                self.saved.normaliser.mean,
                self.saved.normaliser.inv_std,
                self.dy.view,
                self.gamma,
                self.d_gamma,
                self.d_beta,
            ],
            [self.dx.view],
        );
        let apply = |x: &[T], y: &[T], dy: &[T], dx: &mut [T]| {
            let rows = x.iter().zip(y).zip(dy).zip(mean).zip(inv_std);
            let channels = gamma.iter().zip(d_gamma).zip(d_beta);
            with_activation!(activation, F => {
                for ((dx, ((((&x, &y), &dy), &mean), &inv_std)), ((&gamma, &d_gamma), &d_beta)) in
                    dx.iter_mut().zip(rows).zip(channels)
                {
                    let g = dy * F.slope(y);
                    let normalised = (x - mean) * inv_std;
                    *dx = gamma * inv_std * (g - (d_beta + normalised * d_gamma) * per_row);
                }
            });
        };
        parallel::chunks(dx, c, |first, dx| {
            let rows = x[first..].chunks_exact(c).zip(y[first..].chunks_exact(c));
            let rows = rows.zip(dy[first..].chunks_exact(c));
            for (dx, ((x, y), dy)) in dx.chunks_exact_mut(c).zip(rows) {
                parallel::simd(
                    #[inline(always)]
                    || apply(x, y, dy, dx),
                );
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![("ACTIVATION", self.saved.activation.code())],
            dims: vec![self.dx.rows as u32, self.dx.cols as u32],
            groups: linear_groups(self.dx.view.len),
        }
    }
}

/// Elements of the partial buffer for `rows` rows of `cols` channels.
pub fn partial_len(rows: usize, cols: usize) -> usize {
    blocks(rows) * 2 * cols
}
