//! Stochastic gradient descent with momentum: one launch over the flat parameters.
//!
//! ```text
//! g ← g + λ p
//! v ← μ v + g
//! p ← p − α(t) v                 or, with Nesterov's momentum, p − α(t) (g + μ v)
//!
//! schedule [steps, 1]   α(t), row = clock position
//! ```
//! With μ = 0 this is plain gradient descent.
//!
//! Source: Sutskever, Martens, Dahl, Hinton, “On the importance of initialization and momentum in deep
//! learning” (ICML 2013), in the form and the order of operations of PyTorch's `torch.optim.SGD`.

use super::product::Target;
use super::{Dispatch, Kernel, linear_groups, parallel, shader};
use crate::buffer::{Cost, Operand, View};
use crate::kernels::host::{Memory, Pieces};
use crate::scalar::Scalar;

/// The definition: one parameter, in f64.
pub mod definition {
    use super::Hyperparameters;

    /// A step at learning rate `alpha`. Changes p and v.
    pub fn step(hyper: &Hyperparameters, alpha: f64, g: f64, [p, v]: [&mut f64; 2]) {
        let g = g + hyper.weight_decay * *p;
        *v = hyper.momentum * *v + g;
        let direction = if hyper.nesterov {
            g + hyper.momentum * *v
        } else {
            *v
        };
        *p -= alpha * direction;
    }
}

/// The constants of the update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hyperparameters {
    /// μ: the part of the velocity that is left after a step.
    pub momentum: f64,
    /// Whether a step looks ahead along the velocity.
    pub nesterov: bool,
    /// λ: what a parameter adds to its own gradient.
    pub weight_decay: f64,
}

/// See the [module](self). Parameters, gradients and v have one length.
#[derive(Clone, Debug)]
pub struct Sgd {
    /// p
    pub parameters: View,
    /// g
    pub gradients: View,
    /// v
    pub velocity: View,
    /// `[steps, 1]`
    pub schedule: View,
    /// `[position, step]`
    pub clock: View,
    /// μ, λ
    pub hyper: Hyperparameters,
    /// Where each tensor ends, the last one with the last parameter.
    pub ends: Vec<usize>,
}

impl Kernel for Sgd {
    const NAME: &'static str = "sgd";
    const SHADER: &'static str = shader!([] "shared/element", "sgd");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::update("p", self.parameters),
            Operand::read("g", self.gradients),
            Operand::update("v", self.velocity),
            Operand::read("schedule", self.schedule),
            Operand::read("clock", self.clock),
        ]
    }

    fn flops(&self) -> u64 {
        8 * self.parameters.len as u64
    }

    fn cost(&self) -> Cost {
        let parameters = self.parameters.len as u64;
        Cost {
            flops: self.flops(),
            read: 4 * (3 * parameters + 1 + self.clock.len as u64), // one row of the schedule
            written: 4 * 2 * parameters,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let position = memory.index.read(self.clock)[0] as usize;
        let reads = [self.gradients, self.schedule];
        let writes = [self.parameters, self.velocity];
        let ([g, schedule], [p, v]) = memory.real.access(reads, writes);
        let rate = schedule[position];
        let [momentum, decay] = [self.hyper.momentum, self.hyper.weight_decay].map(T::of);
        let nesterov = self.hyper.nesterov;
        let pieces = Pieces::new(&self.ends, p.len(), memory.team.threads());
        let [p, v] = [p, v].map(Target::new);
        memory.team.share_out(pieces.count(), |_, task| {
            let piece = pieces.piece(task);
            let g = &g[piece.clone()];
            // SAFETY: no other task has this piece, for the ends ascend.
            let [p, v] = [p, v].map(|all| unsafe { all.part(piece.start, piece.len()) });
            parallel::simd(
                #[inline(always)]
                || {
                    for ((p, &g), v) in p.iter_mut().zip(g).zip(v) {
                        let g = g + decay * *p;
                        *v = momentum * *v + g;
                        *p -= rate * if nesterov { g + momentum * *v } else { *v };
                    }
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        let bits = |value: f64| (value as f32).to_bits();
        Dispatch {
            constants: vec![("NESTEROV", self.hyper.nesterov.to_string())],
            dims: vec![
                self.parameters.len as u32,
                bits(self.hyper.momentum),
                bits(self.hyper.weight_decay),
            ],
            groups: linear_groups(self.parameters.len),
        }
    }
}
