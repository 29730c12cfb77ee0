//! Batch norm's backward.

use super::Normaliser;
use crate::buffer::{Matrix, Operand, View};
use crate::kernels::activation::with_activation;
use crate::kernels::column_sum::{partial_groups, sum_columns};
use crate::kernels::host::Memory;
use crate::kernels::parallel::{self, Columns, chunks_of, each_column, each_part, piece};
use crate::kernels::{Activation, Dispatch, Kernel, ROWS_PER_BLOCK, linear_groups, shader};
use crate::scalar::Scalar;

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
    const SHADER: &'static str = shader!([ROWS_PER_BLOCK = ROWS_PER_BLOCK] "shared/column_of_block", "shared/exp_minus_one", "shared/activation", "batch_norm_backward_partial");

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

    fn formula(&self) -> String {
        format!("g = {}", self.saved.activation.gradient("dy"))
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
        each_part(
            &memory.team,
            chunks_of(partial, 2 * c),
            |_, index, partial| {
                let first = index * ROWS_PER_BLOCK * c;
                let block = first..dy.len().min(first + ROWS_PER_BLOCK * c);
                let (sum_g, sum_gx) = partial.split_at_mut(c);
                let sums = ColumnGradients {
                    x: &x[block.clone()],
                    y: &y[block.clone()],
                    dy: &dy[block],
                    mean,
                    inv_std,
                    activation,
                    sum_g,
                    sum_gx,
                };
                each_column(c, sums);
            },
        );
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![("ACTIVATION", self.saved.activation.code())],
            dims: vec![self.dy.rows as u32, self.dy.cols as u32],
            groups: partial_groups(self.dy.rows, self.dy.cols),
        }
    }
}

/// Σ g and Σ g x̂ of each column of a block.
struct ColumnGradients<'a, T> {
    x: &'a [T],
    y: &'a [T],
    dy: &'a [T],
    mean: &'a [T],
    inv_std: &'a [T],
    activation: Activation,
    sum_g: &'a mut [T],
    sum_gx: &'a mut [T],
}

impl<T: Scalar> Columns for ColumnGradients<'_, T> {
    #[inline(always)]
    fn run<const WIDTH: usize>(&mut self, first: usize) {
        let c = self.mean.len();
        let (mean, inv_std): (&[T; WIDTH], &[T; WIDTH]) =
            (piece(self.mean, first), piece(self.inv_std, first));
        let (mut sum_g, mut sum_gx) = ([T::zero(); WIDTH], [T::zero(); WIDTH]);
        let rows = self.x.chunks_exact(c).zip(self.y.chunks_exact(c));
        with_activation!(self.activation, F => {
            for ((x, y), dy) in rows.zip(self.dy.chunks_exact(c)) {
                let (x, y): (&[T; WIDTH], &[T; WIDTH]) = (piece(x, first), piece(y, first));
                let dy: &[T; WIDTH] = piece(dy, first);
                for i in 0..WIDTH {
                    let g = dy[i] * F.slope(y[i]);
                    sum_g[i] += g;
                    sum_gx[i] += g * ((x[i] - mean[i]) * inv_std[i]);
                }
            }
        });
        self.sum_g[first..first + WIDTH].copy_from_slice(&sum_g);
        self.sum_gx[first..first + WIDTH].copy_from_slice(&sum_gx);
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
    const SHADER: &'static str = shader!([] "shared/element", "batch_norm_backward_finish");

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
        sum_columns(partial, 2 * c, d_beta);
        sum_columns(&partial[c..], 2 * c, d_gamma);
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

/// Third pass backward: dx, which takes the place of dy.
///
/// Neither is then fetched or kept besides the other: on two threads dx elsewhere took a third longer.
#[derive(Clone, Debug)]
pub struct BackwardApply {
    /// What forward saved.
    pub saved: Saved,
    /// γ `[C]`
    pub gamma: View,
    /// `[C]` from [`BackwardFinish`]
    pub d_gamma: View,
    /// `[C]` from [`BackwardFinish`]
    pub d_beta: View,
    /// `[N, C]`: dy before, dx after.
    pub gradient: Matrix,
}

impl Kernel for BackwardApply {
    const NAME: &'static str = "batch_norm_backward_apply";
    const SHADER: &'static str = shader!([] "shared/element", "shared/exp_minus_one", "shared/activation", "batch_norm_backward_apply");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.saved.x),
            Operand::read("y", self.saved.y),
            Operand::read("mean", self.saved.normaliser.mean),
            Operand::read("inv_std", self.saved.normaliser.inv_std),
            Operand::read("gamma", self.gamma),
            Operand::read("d_gamma", self.d_gamma),
            Operand::read("d_beta", self.d_beta),
            Operand::update("gradient", self.gradient),
        ]
    }

    fn formula(&self) -> String {
        format!("g = {}", self.saved.activation.gradient("dy"))
    }

    fn flops(&self) -> u64 {
        10 * self.gradient.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let c = self.gradient.cols;
        let activation = self.saved.activation;
        let per_row = T::one() / T::of(self.gradient.rows as f64);
        let ([x, y, mean, inv_std, gamma, d_gamma, d_beta], [gradient]) = memory.real.access(
            [
                self.saved.x.view,
                self.saved.y.view,
                self.saved.normaliser.mean,
                self.saved.normaliser.inv_std,
                self.gamma,
                self.d_gamma,
                self.d_beta,
            ],
            [self.gradient.view],
        );
        parallel::chunks(&memory.team, gradient, c, |first, gradient| {
            let rows = x[first..].chunks_exact(c).zip(y[first..].chunks_exact(c));
            let rows = gradient.chunks_exact_mut(c).zip(rows);
            parallel::simd(
                #[inline(always)]
                || {
                    with_activation!(activation, F => {
                        for (gradient, (x, y)) in rows {
                            let values = x.iter().zip(y).zip(mean).zip(inv_std);
                            let channels = gamma.iter().zip(d_gamma).zip(d_beta);
                            for (
                                (gradient, (((&x, &y), &mean), &inv_std)),
                                ((&gamma, &d_gamma), &d_beta),
                            ) in gradient.iter_mut().zip(values).zip(channels)
                            {
                                let g = *gradient * F.slope(y);
                                let normalised = (x - mean) * inv_std;
                                *gradient =
                                    gamma * inv_std * (g - (d_beta + normalised * d_gamma) * per_row);
                            }
                        }
                    });
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![("ACTIVATION", self.saved.activation.code())],
            dims: vec![self.gradient.rows as u32, self.gradient.cols as u32],
            groups: linear_groups(self.gradient.view.len),
        }
    }
}
