//! Codes that are normal distributions: sampling, and the divergence from the standard normal.
//!
//! ```text
//! q = (μ, l) [N, 2d]: means, and logarithms of variances
//! sample    z = μ + e^(l/2) n                n ~ N(0, 1), z, n [N, d]
//! backward  dμ = dz,  dl = dz · n · e^(l/2) / 2
//! KL        Σ ½ (μ² + e^l − l − 1)           of N(μ, e^l) from N(0, 1); nats
//! gradient  dμ = w μ / N,  dl = w ½ (e^l − 1) / N
//!
//! element e of n is a function of (seed, stream, step, e), see the room of random numbers
//! ```
//! Source: Kingma and Welling, “Auto-encoding variational Bayes” (ICLR 2014), appendix B.

use super::parallel::{self, chunks_of, each_part};
use super::random::{BLOCK, normals};
use super::{Dispatch, Kernel, linear_groups, shader};
use crate::buffer::{Matrix, Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: one element of the code at a time, in f64.
pub mod definition {
    /// z
    pub fn sample(mean: f64, log_variance: f64, noise: f64) -> f64 {
        mean + (log_variance / 2.0).exp() * noise
    }

    /// (dμ, dl) of [`sample`].
    pub fn sample_backward(log_variance: f64, noise: f64, dz: f64) -> (f64, f64) {
        (dz, dz * noise * (log_variance / 2.0).exp() / 2.0)
    }

    /// The divergence from the standard normal.
    pub fn kl(mean: f64, log_variance: f64) -> f64 {
        0.5 * (mean * mean + log_variance.exp() - log_variance - 1.0)
    }

    /// (dμ, dl) of [`kl`].
    pub fn kl_gradient(mean: f64, log_variance: f64) -> (f64, f64) {
        (mean, 0.5 * (log_variance.exp() - 1.0))
    }
}

/// Elements summed by one block of the divergence's first pass.
pub const KL_BLOCK: usize = 1024;

/// Elements of one task.
const TASK: usize = 64 * BLOCK;

/// `z = μ + e^(l/2) n`
#[derive(Clone, Debug)]
pub struct Sample {
    /// `[N, 2d]`
    pub q: Matrix,
    /// `[position, step]`
    pub clock: View,
    /// `[N, d]`
    pub z: Matrix,
    /// n `[N, d]`
    pub noise: Matrix,
    /// Of the draws.
    pub seed: u64,
    /// Of the draws.
    pub stream: u32,
}

impl Kernel for Sample {
    const NAME: &'static str = "gaussian_sample";
    const SHADER: &'static str = shader!([] "shared/element", "shared/random", "gaussian_sample");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("q", self.q),
            Operand::read("clock", self.clock),
            Operand::write("z", self.z),
            Operand::write("noise", self.noise),
        ]
    }

    fn flops(&self) -> u64 {
        20 * self.z.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let width = self.z.cols;
        let step = memory.index.read(self.clock)[1];
        let writes = [self.z.view, self.noise.view];
        let ([q], [z, noise]) = memory.real.access([self.q.view], writes);
        let parts = (chunks_of(z, TASK), chunks_of(noise, TASK));
        each_part(&memory.team, parts, |_, task, (z, noise)| {
            parallel::simd(
                #[inline(always)]
                || {
                    let blocks = z.chunks_mut(BLOCK).zip(noise.chunks_mut(BLOCK));
                    for (block, (z, noise)) in blocks.enumerate() {
                        let first = task * TASK + block * BLOCK;
                        let drawn = normals(first, step, self.stream, self.seed);
                        let drawn = drawn.iter().zip(z).zip(noise);
                        for (place, ((&n, z), noise)) in drawn.enumerate() {
                            let (row, column) = ((first + place) / width, (first + place) % width);
                            let [mean, log] = [0, width].map(|at| q[2 * row * width + at + column]);
                            *noise = T::of(n.into());
                            *z = mean + (T::of(0.5) * log).exponential() * *noise;
                        }
                    }
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        let [rows, width] = [self.z.rows, self.z.cols];
        Dispatch {
            constants: vec![],
            dims: vec![
                rows as u32,
                width as u32,
                self.seed as u32,
                (self.seed >> 32) as u32,
                self.stream,
            ],
            groups: linear_groups((rows * width).div_ceil(4)),
        }
    }
}

/// `dq` of [`Sample`].
#[derive(Clone, Debug)]
pub struct SampleBackward {
    /// `[N, 2d]`
    pub q: Matrix,
    /// What [`Sample`] drew, `[N, d]`.
    pub noise: Matrix,
    /// `[N, d]`
    pub dz: Matrix,
    /// `[N, 2d]`
    pub dq: Matrix,
}

impl Kernel for SampleBackward {
    const NAME: &'static str = "gaussian_sample_backward";
    const SHADER: &'static str = shader!([] "shared/element", "gaussian_sample_backward");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("q", self.q),
            Operand::read("noise", self.noise),
            Operand::read("dz", self.dz),
            Operand::write("dq", self.dq),
        ]
    }

    fn flops(&self) -> u64 {
        5 * self.dz.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let width = self.dz.cols;
        let reads = [self.q.view, self.noise.view, self.dz.view];
        let ([q, noise, dz], [dq]) = memory.real.access(reads, [self.dq.view]);
        let size = 2 * width * parallel::rows_per_task(2 * width);
        each_part(&memory.team, chunks_of(dq, size), |_, task, dq| {
            for (place, dq) in dq.chunks_exact_mut(2 * width).enumerate() {
                let row = task * (size / (2 * width)) + place;
                let log = &q[2 * row * width + width..][..width];
                let [noise, dz] = [noise, dz].map(|all| &all[row * width..][..width]);
                let (d_mean, d_log) = dq.split_at_mut(width);
                d_mean.copy_from_slice(dz);
                for (column, d_log) in d_log.iter_mut().enumerate() {
                    let half = T::of(0.5);
                    let deviation = (half * log[column]).exponential();
                    *d_log = dz[column] * noise[column] * deviation * half;
                }
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        over(self.dz)
    }
}

/// `z = μ`: what evaluation takes in the place of a sample.
#[derive(Clone, Debug)]
pub struct Mean {
    /// `[N, 2d]`
    pub q: Matrix,
    /// `[N, d]`
    pub z: Matrix,
}

impl Kernel for Mean {
    const NAME: &'static str = "gaussian_mean";
    const SHADER: &'static str = shader!([] "shared/element", "gaussian_mean");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("q", self.q), Operand::write("z", self.z)]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let width = self.z.cols;
        let ([q], [z]) = memory.real.access([self.q.view], [self.z.view]);
        for (z, q) in z.chunks_exact_mut(width).zip(q.chunks_exact(2 * width)) {
            z.copy_from_slice(&q[..width]);
        }
    }

    fn gpu(&self) -> Dispatch {
        over(self.z)
    }
}

/// First pass of the divergence: each block's sum.
#[derive(Clone, Debug)]
pub struct KlPartial {
    /// `[N, 2d]`
    pub q: Matrix,
    /// `[⌈N d / KL_BLOCK⌉]`
    pub partial: View,
}

impl Kernel for KlPartial {
    const NAME: &'static str = "gaussian_kl_partial";
    const SHADER: &'static str = shader!([BLOCK = KL_BLOCK] "shared/block_sum", "shared/exp_minus_one", "gaussian_kl_partial");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("q", self.q),
            Operand::write("partial", self.partial),
        ]
    }

    fn flops(&self) -> u64 {
        6 * self.q.view.len as u64 / 2
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let width = self.q.cols / 2;
        let elements = self.q.rows * width;
        let ([q], [partial]) = memory.real.access([self.q.view], [self.partial]);
        each_part(&memory.team, chunks_of(partial, 1), |_, block, partial| {
            let block = block * KL_BLOCK..elements.min((block + 1) * KL_BLOCK);
            let terms = block.map(|element| {
                let (row, column) = (element / width, element % width);
                let [mean, log] = [0, width].map(|at| q[2 * row * width + at + column]);
                // e^l − 1 in one: near l = 0 the difference would lose its digits.
                T::of(0.5) * (mean * mean + log.exponential_minus_one() - log)
            });
            partial[0] = terms.sum();
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.q.rows as u32, (self.q.cols / 2) as u32],
            // One work-group per block.
            groups: linear_groups(self.partial.len * super::GROUP),
        }
    }
}

/// The gradient of the divergence by q.
#[derive(Clone, Debug)]
pub struct KlGradient {
    /// `[N, 2d]`
    pub q: Matrix,
    /// `[N, 2d]`
    pub dq: Matrix,
    /// w / N
    pub scale: f64,
}

impl Kernel for KlGradient {
    const NAME: &'static str = "gaussian_kl_gradient";
    const SHADER: &'static str =
        shader!([] "shared/element", "shared/exp_minus_one", "gaussian_kl_gradient");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("q", self.q), Operand::write("dq", self.dq)]
    }

    fn flops(&self) -> u64 {
        2 * self.q.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let cols = self.q.cols;
        let ([q], [dq]) = memory.real.access([self.q.view], [self.dq.view]);
        let scale = T::of(self.scale);
        let size = cols * parallel::rows_per_task(cols);
        each_part(&memory.team, chunks_of(dq, size), |_, task, dq| {
            let rows = q[task * size..].chunks_exact(cols);
            for (dq, q) in dq.chunks_exact_mut(cols).zip(rows) {
                for (column, (dq, &q)) in dq.iter_mut().zip(q).enumerate() {
                    *dq = if column < cols / 2 {
                        scale * q
                    } else {
                        scale * T::of(0.5) * q.exponential_minus_one()
                    };
                }
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        let [rows, cols] = [self.q.rows, self.q.cols];
        Dispatch {
            constants: vec![],
            dims: vec![
                rows as u32,
                (cols / 2) as u32,
                (self.scale as f32).to_bits(),
            ],
            groups: linear_groups(rows * cols),
        }
    }
}

/// A thread for each element of a `[N, d]` matrix.
fn over(matrix: Matrix) -> Dispatch {
    Dispatch {
        constants: vec![],
        dims: vec![matrix.rows as u32, matrix.cols as u32],
        groups: linear_groups(matrix.view.len),
    }
}
