//! Clock: where training stands, kept on the device.
//!
//! ```text
//! clock = [position in the epoch, step since the beginning] ← clock + [1, 1]
//! ```
//! Whatever changes from step to step (which rows of the shuffle, which random numbers, Adam's bias
//! correction) is looked up by the clock, so every step is the very same list of launches, and a
//! GPU can be given many steps at once.

use super::{Dispatch, Kernel, shader};
use crate::buffer::{Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: either count.
pub mod definition {
    /// A count after a step; after 2³² of them it begins again.
    pub fn advance(count: u32) -> u32 {
        count.wrapping_add(1)
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Advance {
    /// `[position, step]`.
    pub clock: View,
}

impl Kernel for Advance {
    const NAME: &'static str = "clock";
    const SHADER: &'static str = shader!("clock");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::update("clock", self.clock)]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        for count in memory.index.write(self.clock) {
            *count = count.wrapping_add(1);
        }
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![],
            groups: [1, 1, 1],
        }
    }
}
