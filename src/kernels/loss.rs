//! Reconstruction losses, means over elements or over images, and their gradients.
//!
//! ```text
//! squared error             L = Σ (y − t)² / D                      dy = 2 (y − t) / D
//! binary cross-entropy      L = Σ (max(y,0) − y t + ln(1+e^−|y|)) / D   dy = (σ(y) − t) / D
//!   from logits y
//!
//! y, t, dy: E elements;  partial [⌈E / BLOCK⌉];  note [steps], written at the clock's position
//! D = E for a mean over elements, the number of images for a mean over images
//! ```
//! The loss stays on the device, one number per step, until somebody asks. A loss of which only a part
//! w counts has its gradient divided by D / w.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parallel::{self, chunks_of, each_part, with_constant};
use super::{Activation, Dispatch, Kernel, linear_groups, shader};
use crate::buffer::{Cost, Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: one element, in f64.
pub mod definition {
    use super::Loss;

    /// Its term of L · D.
    pub fn term(loss: Loss, y: f64, t: f64) -> f64 {
        match loss {
            Loss::MeanSquaredError => (y - t) * (y - t),
            Loss::BinaryCrossEntropy => y.max(0.0) - y * t + (-y.abs()).exp().ln_1p(),
        }
    }

    /// dy · D
    pub fn gradient(loss: Loss, y: f64, t: f64) -> f64 {
        match loss {
            Loss::MeanSquaredError => 2.0 * (y - t),
            Loss::BinaryCrossEntropy => 1.0 / (1.0 + (-y).exp()) - t,
        }
    }
}

/// Elements summed by one block of the first pass.
pub const BLOCK: usize = 4096;

/// Which loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Loss {
    /// Mean squared error.
    #[default]
    #[serde(rename = "mse")]
    MeanSquaredError,
    /// Binary cross-entropy, y being logits.
    #[serde(rename = "bce")]
    BinaryCrossEntropy,
}

impl Loss {
    /// One element's term.
    #[inline(always)]
    pub fn term<T: Scalar>(self, y: T, target: T) -> T {
        match self {
            Loss::MeanSquaredError => (y - target) * (y - target),
            Loss::BinaryCrossEntropy => {
                // Not `max`, which would turn a NaN into 0 and hide it.
                let positive = if y < T::zero() { T::zero() } else { y };
                positive - y * target + (-y.abs()).exponential().logarithm_of_one_plus()
            }
        }
    }

    /// The term's derivative by y.
    #[inline(always)]
    pub fn slope<T: Scalar>(self, y: T, target: T) -> T {
        match self {
            Loss::MeanSquaredError => T::of(2.0) * (y - target),
            Loss::BinaryCrossEntropy => Activation::Sigmoid.apply(y) - target,
        }
    }

    fn code(self) -> String {
        format!("{}u", self as u32)
    }
}

/// First pass: each block's sum.
#[derive(Clone, Debug)]
pub struct Partial {
    /// Output of the model.
    pub y: View,
    /// What it should be.
    pub target: View,
    /// `[⌈E / BLOCK⌉]`
    pub partial: View,
    /// Which loss.
    pub loss: Loss,
}

impl Kernel for Partial {
    const NAME: &'static str = "loss_partial";
    const SHADER: &'static str = shader!([BLOCK = BLOCK] "shared/block_sum", "loss_partial");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("y", self.y),
            Operand::read("target", self.target),
            Operand::write("partial", self.partial),
        ]
    }

    fn flops(&self) -> u64 {
        let per_element = match self.loss {
            Loss::MeanSquaredError => 3,
            Loss::BinaryCrossEntropy => 7,
        };
        per_element * self.y.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        /// Sums kept side by side: a vector register's worth, and less rounding than one.
        const LANES: usize = 16;
        let ([y, target], [partial]) = memory.real.access([self.y, self.target], [self.partial]);
        each_part(&memory.team, chunks_of(partial, 1), |_, index, partial| {
            let block = index * BLOCK..y.len().min((index + 1) * BLOCK);
            let (y, target) = (&y[block.clone()], &target[block]);
            parallel::simd(
                #[inline(always)]
                || {
                    let mut lanes = [T::zero(); LANES];
                    with_constant!(self.loss, Loss::{MeanSquaredError, BinaryCrossEntropy}, L => {
                        for (y, target) in y.chunks(LANES).zip(target.chunks(LANES)) {
                            for ((lane, &y), &target) in lanes.iter_mut().zip(y).zip(target) {
                                *lane += L.term(y, target);
                            }
                        }
                    });
                    partial[0] = lanes.into_iter().sum();
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![("LOSS", self.loss.code())],
            dims: vec![self.y.len as u32],
            // One work-group per block.
            groups: linear_groups(self.partial.len * super::GROUP),
        }
    }
}

/// Second pass of any mean: the sum of partial sums, divided, noted at the clock's position.
#[derive(Clone, Debug)]
pub struct Finish {
    /// From [`Partial`], or another first pass.
    pub partial: View,
    /// D
    pub divisor: f64,
    /// `[position, step]`
    pub clock: View,
    /// `[steps]`
    pub note: View,
}

impl Kernel for Finish {
    const NAME: &'static str = "loss_finish";
    const SHADER: &'static str = shader!("loss_finish");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("partial", self.partial),
            Operand::read("clock", self.clock),
            Operand::update("note", self.note),
        ]
    }

    fn flops(&self) -> u64 {
        self.partial.len as u64 + 1
    }

    fn cost(&self) -> Cost {
        Cost {
            flops: self.flops(),
            read: 4 * (self.partial.len + self.clock.len) as u64,
            written: 4, // one of the values noted
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let position = memory.index.read(self.clock)[0] as usize;
        let ([partial], [note]) = memory.real.access([self.partial], [self.note]);
        note[position] = partial.iter().copied().sum::<T>() / T::of(self.divisor);
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.partial.len as u32, (self.divisor as f32).to_bits()],
            groups: [1, 1, 1],
        }
    }
}

/// The gradient of the loss by y.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// Output of the model.
    pub y: View,
    /// What it should be.
    pub target: View,
    /// To be written.
    pub dy: View,
    /// Which loss.
    pub loss: Loss,
    /// D, or D / w where only a part w of the loss counts.
    pub divisor: f64,
}

impl Kernel for Gradient {
    const NAME: &'static str = "loss_gradient";
    const SHADER: &'static str = shader!([] "shared/element", "loss_gradient");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("y", self.y),
            Operand::read("target", self.target),
            Operand::write("dy", self.dy),
        ]
    }

    fn flops(&self) -> u64 {
        let per_element = match self.loss {
            Loss::MeanSquaredError => 3,
            Loss::BinaryCrossEntropy => 6,
        };
        per_element * self.y.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([y, target], [dy]) = memory.real.access([self.y, self.target], [self.dy]);
        let divisor = T::of(self.divisor);
        parallel::chunks(&memory.team, dy, 1, |first, dy| {
            let (y, target) = (&y[first..], &target[first..]);
            parallel::simd(
                #[inline(always)]
                || {
                    with_constant!(self.loss, Loss::{MeanSquaredError, BinaryCrossEntropy}, L => {
                        for ((dy, &y), &target) in dy.iter_mut().zip(y).zip(target) {
                            *dy = L.slope(y, target) / divisor;
                        }
                    });
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![("LOSS", self.loss.code())],
            dims: vec![self.y.len as u32, (self.divisor as f32).to_bits()],
            groups: linear_groups(self.y.len),
        }
    }
}
