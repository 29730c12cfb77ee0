//! Dropout: some elements are set to 0, the others made larger.
//!
//! ```text
//! y[e] = 0 with probability p, else x[e] / (1 − p)
//! element e is dropped if word e of (seed, stream, step) is below p · 2³², see the room of random numbers
//! ```
//! The mask is drawn anew wherever it is needed and never stored: backward is the same function of dy.
//!
//! Source: Srivastava et al., “Dropout” (JMLR 2014), scaled in training as PyTorch does.

use super::parallel::{self, chunks_of, each_part};
use super::random::{BLOCK, words};
use super::{Dispatch, Kernel, linear_groups, shader};
use crate::buffer::{Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: one element at a time, in f64. Its backward is the same function of dy.
pub mod definition {
    /// y, given the element's random word.
    pub fn dropout(x: f64, rate: f64, word: u32) -> f64 {
        if f64::from(word) < (rate * 4_294_967_296.0).floor() {
            0.0
        } else {
            x / (1.0 - rate)
        }
    }
}

/// Elements of one task.
const TASK: usize = 64 * BLOCK;

/// See the [module](self). x and y have one length.
#[derive(Clone, Debug)]
pub struct Dropout {
    /// Input.
    pub x: View,
    /// `[position, step]`
    pub clock: View,
    /// Output.
    pub y: View,
    /// p, from 0 to below 1.
    pub rate: f64,
    /// Of the draws.
    pub seed: u64,
    /// Of the draws.
    pub stream: u32,
}

impl Dropout {
    /// A word below this drops its element.
    fn below(&self) -> u32 {
        (self.rate * 4_294_967_296.0) as u32
    }
}

impl Kernel for Dropout {
    const NAME: &'static str = "dropout";
    const SHADER: &'static str = shader!([] "shared/element", "shared/random", "dropout");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.x),
            Operand::read("clock", self.clock),
            Operand::write("y", self.y),
        ]
    }

    fn formula(&self) -> String {
        format!("rate {}", self.rate)
    }

    fn flops(&self) -> u64 {
        self.y.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let step = memory.index.read(self.clock)[1];
        let ([x], [y]) = memory.real.access([self.x], [self.y]);
        let (below, scale) = (self.below(), T::of(1.0 / (1.0 - self.rate)));
        each_part(&memory.team, chunks_of(y, TASK), |_, task, y| {
            parallel::simd(
                #[inline(always)]
                || {
                    for (block, y) in y.chunks_mut(BLOCK).enumerate() {
                        let first = task * TASK + block * BLOCK;
                        let words = words(first, step, self.stream, self.seed);
                        for ((y, &x), &word) in y.iter_mut().zip(&x[first..]).zip(&words) {
                            *y = if word < below { T::zero() } else { scale * x };
                        }
                    }
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![
                self.y.len as u32,
                self.below(),
                (1.0 / (1.0 - self.rate) as f32).to_bits(),
                self.seed as u32,
                (self.seed >> 32) as u32,
                self.stream,
            ],
            groups: linear_groups(self.y.len.div_ceil(4)),
        }
    }
}
