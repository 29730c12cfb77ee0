//! What a launch costs, from its dimensions alone.

use std::iter::Sum;
use std::ops::Add;

use serde::Serialize;

use super::Operand;

/// Arithmetic and compulsory memory traffic, counted where a real is an `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Floating-point operations; a multiply-add counts two, exp, ln and sqrt one each.
    pub flops: u64,
    /// Bytes read, each operand once.
    pub read: u64,
    /// Bytes written, each operand once.
    pub written: u64,
}

impl Cost {
    /// Bytes read and written.
    pub fn bytes(&self) -> u64 {
        self.read + self.written
    }

    /// The cost of `flops` over operands that are each touched whole, four bytes an element.
    pub(crate) fn over(flops: u64, operands: &[Operand]) -> Cost {
        let mut cost = Cost {
            flops,
            ..Cost::default()
        };
        for operand in operands {
            let bytes = 4 * operand.view.len as u64;
            if operand.is_read() {
                cost.read += bytes;
            }
            if operand.is_written() {
                cost.written += bytes;
            }
        }
        cost
    }
}

impl Add for Cost {
    type Output = Cost;

    fn add(self, other: Cost) -> Cost {
        Cost {
            flops: self.flops + other.flops,
            read: self.read + other.read,
            written: self.written + other.written,
        }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), Add::add)
    }
}
