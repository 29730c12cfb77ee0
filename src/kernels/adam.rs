//! Adam: one launch over the flat parameters.
//!
//! ```text
//! m ← m + (1−β₁)(g − m)
//! v ← v + (1−β₂)(g² − v)
//! p ← keep[t] p − rate[t] · m / (√v · scale[t] + ε)
//!
//! schedule [steps, 3]   rate[t] = α(t) / (1−β₁ᵗ),  scale[t] = 1 / √(1−β₂ᵗ),  keep[t] = 1 − α(t) λ
//!                       row = clock position
//! ```
//! With a weight decay λ this is AdamW: weights decay by themselves, not through their gradients. Without
//! one, λ = 0, it is Adam: multiplying by 1 changes no bit.
//!
//! The row comes from the host, computed in f64. PyTorch's defaults: β₁ = 0.9,
//! β₂ = 0.999, ε = 1e-8.
//!
//! Source: Kingma and Ba, “Adam: a method for stochastic optimization” (ICLR 2015); Loshchilov and
//! Hutter, “Decoupled weight decay regularization” (ICLR 2019); in the order of operations of PyTorch's
//! `torch.optim.Adam` and `AdamW`.

use super::product::Target;
use super::{Dispatch, Kernel, linear_groups, parallel, shader};
use crate::buffer::{Cost, Operand, View};
use crate::kernels::host::{Memory, Pieces};
use crate::scalar::Scalar;

/// The definition: one parameter, in f64.
pub mod definition {
    use super::Hyperparameters;

    /// Step `t` (from 1) at learning rate `alpha`. Changes p, m and v.
    pub fn step(hyper: &Hyperparameters, t: i32, alpha: f64, g: f64, [p, m, v]: [&mut f64; 3]) {
        *p *= 1.0 - alpha * hyper.weight_decay;
        *m = hyper.beta1 * *m + (1.0 - hyper.beta1) * g;
        *v = hyper.beta2 * *v + (1.0 - hyper.beta2) * g * g;
        let mean = *m / (1.0 - hyper.beta1.powi(t));
        let variance = *v / (1.0 - hyper.beta2.powi(t));
        *p -= alpha * mean / (variance.sqrt() + hyper.epsilon);
    }
}

/// The constants of the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Keeps the quotient finite.
    pub epsilon: f64,
    /// λ: the part of itself, times the learning rate, that a parameter loses at each step; 0 for Adam.
    pub weight_decay: f64,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Hyperparameters {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl Hyperparameters {
    /// The schedule's row `[rate, scale, keep]` for step `t` (the first is 1) at learning rate `alpha`.
    pub fn schedule_row(&self, t: u64, alpha: f64) -> [f64; 3] {
        let t = t as f64;
        [
            alpha / (1.0 - self.beta1.powf(t)),
            1.0 / (1.0 - self.beta2.powf(t)).sqrt(),
            1.0 - alpha * self.weight_decay,
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
    /// `[steps, 3]`
    pub schedule: View,
    /// `[position, step]`
    pub clock: View,
    /// β₁, β₂, ε, λ
    pub hyper: Hyperparameters,
    /// Where each tensor ends, the last one with the last parameter.
    pub ends: Vec<usize>,
}

impl Kernel for Adam {
    const NAME: &'static str = "adam";
    const SHADER: &'static str = shader!([] "shared/element", "adam");

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
        13 * self.parameters.len as u64
    }

    fn cost(&self) -> Cost {
        let parameters = self.parameters.len as u64;
        Cost {
            flops: self.flops(),
            read: 4 * (4 * parameters + 3 + self.clock.len as u64), // one row of the schedule
            written: 4 * 3 * parameters,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let position = memory.index.read(self.clock)[0] as usize;
        let ([g, schedule], [p, m, v]) = memory.real.access(
            [self.gradients, self.schedule],
            [self.parameters, self.mean, self.variance],
        );
        let [rate, scale, keep] = [0, 1, 2].map(|column| schedule[3 * position + column]);
        let keep1 = T::of(1.0 - self.hyper.beta1);
        let keep2 = T::of(1.0 - self.hyper.beta2);
        let epsilon = T::of(self.hyper.epsilon);
        let pieces = Pieces::new(&self.ends, p.len(), memory.team.threads());
        let [p, m, v] = [p, m, v].map(Target::new);
        memory.team.share_out(pieces.count(), |_, task| {
            let piece = pieces.piece(task);
            let g = &g[piece.clone()];
            // SAFETY: no other task has this piece, for the ends ascend.
            let [p, m, v] = [p, m, v].map(|all| unsafe { all.part(piece.start, piece.len()) });
            parallel::simd(
                #[inline(always)]
                || {
                    for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                        *m += keep1 * (g - *m);
                        *v += keep2 * (g * g - *v);
                        *p = *p * keep - rate * *m / (v.sqrt() * scale + epsilon);
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
