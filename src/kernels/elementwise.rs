//! Element by element: sums and copies of whole views.
//!
//! ```text
//! add    y ← y + x
//! copy   y ← x
//! ```
//! A sum is the backward pass of a fork, a copy that of a sum.

use super::parallel::{self};
use super::{Dispatch, Kernel, linear_groups, shader};
use crate::buffer::{Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: one element, in f64.
pub mod definition {
    /// y ← y + x
    pub fn add(y: f64, x: f64) -> f64 {
        y + x
    }

    /// y ← x
    pub fn copy(x: f64) -> f64 {
        x
    }
}

/// `y ← y + x`, of one length.
#[derive(Clone, Debug)]
pub struct Add {
    /// What is added.
    pub x: View,
    /// What it is added to.
    pub y: View,
}

impl Kernel for Add {
    const NAME: &'static str = "add";
    const SHADER: &'static str = shader!([] "shared/element", "add");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("x", self.x), Operand::update("y", self.y)]
    }

    fn flops(&self) -> u64 {
        self.y.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([x], [y]) = memory.real.access([self.x], [self.y]);
        parallel::chunks(&memory.team, y, 1, |first, y| {
            parallel::simd(
                #[inline(always)]
                || y.iter_mut().zip(&x[first..]).for_each(|(y, &x)| *y += x),
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        over(self.y.len)
    }
}

/// `y ← x`, of one length.
#[derive(Clone, Debug)]
pub struct Copy {
    /// What is copied.
    pub x: View,
    /// Where to.
    pub y: View,
}

impl Kernel for Copy {
    const NAME: &'static str = "copy";
    const SHADER: &'static str = shader!([] "shared/element", "copy");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("x", self.x), Operand::write("y", self.y)]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([x], [y]) = memory.real.access([self.x], [self.y]);
        parallel::chunks(&memory.team, y, 1, |first, y| {
            y.copy_from_slice(&x[first..first + y.len()]);
        });
    }

    fn gpu(&self) -> Dispatch {
        over(self.y.len)
    }
}

fn over(len: usize) -> Dispatch {
    Dispatch {
        constants: vec![],
        dims: vec![len as u32],
        groups: linear_groups(len),
    }
}
