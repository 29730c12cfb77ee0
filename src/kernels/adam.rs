//! Adam: one launch over the flat parameters.
//!
//! ```text
//! m ← m + (1−β₁)(g − m)
//! v ← v + (1−β₂)(g² − v)
//! p ← p − rate[t] · m / (√v · scale[t] + ε)
//!
//! schedule [steps, 2]   rate[t] = α(t) / (1−β₁ᵗ),  scale[t] = 1 / √(1−β₂ᵗ), row = clock position
//! ```
//! Both bias corrections come from the host, computed in f64. PyTorch's defaults: β₁ = 0.9,
//! β₂ = 0.999, ε = 1e-8.
//!
//! Source: Kingma and Ba, “Adam: a method for stochastic optimization” (ICLR 2015), in the order
//! of operations of PyTorch's `torch.optim.Adam`.

use std::ops::Range;

use super::product::Target;
use super::{Dispatch, Kernel, linear_groups, parallel, shader};
use crate::buffer::{Cost, Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The constants of the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Keeps the quotient finite.
    pub epsilon: f64,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Hyperparameters {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

impl Hyperparameters {
    /// The schedule's row `[rate, scale]` for step `t` (the first is 1) at learning rate `alpha`.
    pub fn schedule_row(&self, t: u64, alpha: f64) -> [f64; 2] {
        let t = t as f64;
        [
            alpha / (1.0 - self.beta1.powf(t)),
            1.0 / (1.0 - self.beta2.powf(t)).sqrt(),
        ]
    }
}

/// See the [module](self). Parameters, gradients, m and v have one length.
#[derive(Clone, Debug)]
pub struct Adam {
    /// p
    pub parameters: View,
    /// g
    pub gradients: View,
    /// m
    pub mean: View,
    /// v
    pub variance: View,
    /// `[steps, 2]`
    pub schedule: View,
    /// `[position, step]`
    pub clock: View,
    /// β₁, β₂, ε
    pub hyper: Hyperparameters,
    /// Where each tensor ends, the last one with the last parameter.
    pub ends: Vec<usize>,
}

/// Pieces that a tensor is cut into for each thread.
const PIECES_PER_THREAD: usize = 4;

impl Adam {
    /// One of a tensor's `pieces`: pairs of cache lines, of which threads should share none.
    fn piece(&self, tensor: usize, piece: usize, pieces: usize) -> Range<usize> {
        let first = tensor.checked_sub(1).map_or(0, |before| self.ends[before]);
        let last = self.ends[tensor];
        let begin = |piece: usize| match piece {
            0 => first,
            _ if piece == pieces => last,
            _ => (first + (last - first) * piece / pieces)
                .next_multiple_of(32)
                .min(last),
        };
        begin(piece)..begin(piece + 1)
    }
}

impl Kernel for Adam {
    const NAME: &'static str = "adam";
    const SHADER: &'static str = shader!("adam");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::update("p", self.parameters),
            Operand::read("g", self.gradients),
            Operand::update("m", self.mean),
            Operand::update("v", self.variance),
            Operand::read("schedule", self.schedule),
            Operand::read("clock", self.clock),
        ]
    }

    fn flops(&self) -> u64 {
        12 * self.parameters.len as u64
    }

    fn cost(&self) -> Cost {
        let parameters = self.parameters.len as u64;
        Cost {
            flops: self.flops(),
            read: 4 * (4 * parameters + 2 + self.clock.len as u64), // one row of the schedule
            written: 4 * 3 * parameters,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let position = memory.index.read(self.clock)[0] as usize;
        let ([g, schedule], [p, m, v]) = memory.real.access(
            [self.gradients, self.schedule],
            [self.parameters, self.mean, self.variance],
        );
        let [rate, scale] = [schedule[2 * position], schedule[2 * position + 1]];
        let keep1 = T::of(1.0 - self.hyper.beta1);
        let keep2 = T::of(1.0 - self.hyper.beta2);
        let epsilon = T::of(self.hyper.epsilon);
        assert!(
            self.ends.is_sorted() && self.ends.last() == Some(&p.len()),
            "tensors that end at {:?} are not {} parameters",
            self.ends,
            p.len()
        );
        let [p, m, v] = [p, m, v].map(Target::new);
        // The same pieces of all tensors, one after the other: then a member updates what it has made the
        // gradients of, a part of each weight's rows (see `gemm.rs`).
        let tensors = self.ends.len();
        let pieces = PIECES_PER_THREAD * memory.team.threads();
        memory.team.share_out(pieces * tensors, |_, task| {
            let piece = self.piece(task % tensors, task / tensors, pieces);
            let g = &g[piece.clone()];
            // SAFETY: no other task has this piece, for the ends ascend.
            let [p, m, v] = [p, m, v].map(|all| unsafe { all.part(piece.start, piece.len()) });
            parallel::simd(
                #[inline(always)]
                || {
                    for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                        *m += keep1 * (g - *m);
                        *v += keep2 * (g * g - *v);
                        *p -= rate * *m / (v.sqrt() * scale + epsilon);
                    }
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        let bits = |value: f64| (value as f32).to_bits();
        Dispatch {
            constants: vec![],
            dims: vec![
                self.parameters.len as u32,
                bits(1.0 - self.hyper.beta1),
                bits(1.0 - self.hyper.beta2),
                bits(self.hyper.epsilon),
            ],
            groups: linear_groups(self.parameters.len),
        }
    }
}
