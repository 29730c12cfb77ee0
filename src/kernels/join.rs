//! Joining two matrices column by column, and cutting one apart: channels last, this is the
//! concatenation of channels.
//!
//! ```text
//! join    y[r, ..] = a[r, ..], b[r, ..]      a [R, A], b [R, B], y [R, A + B]
//! split   a[r, ..], b[r, ..] = y[r, ..]      its backward
//! ```

use super::parallel::{chunks_of, each_part, rows_per_task};
use super::{Dispatch, Kernel, linear_groups, shader};
use crate::buffer::{Matrix, Operand};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: one row, in f64.
pub mod definition {
    /// y
    pub fn join(a: &[f64], b: &[f64]) -> Vec<f64> {
        let mut y = a.to_vec();
        y.extend(b);
        y
    }

    /// (a, b), a of so many columns: the backward of [`join`].
    pub fn split(y: &[f64], columns: usize) -> (Vec<f64>, Vec<f64>) {
        (y[..columns].to_vec(), y[columns..].to_vec())
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Join {
    /// `[R, A]`
    pub a: Matrix,
    /// `[R, B]`
    pub b: Matrix,
    /// `[R, A + B]`
    pub y: Matrix,
}

impl Kernel for Join {
    const NAME: &'static str = "join";
    const SHADER: &'static str = shader!([] "shared/element", "join");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("a", self.a),
            Operand::read("b", self.b),
            Operand::write("y", self.y),
        ]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let [cols_a, cols_b] = [self.a.cols, self.b.cols];
        let reads = [self.a.view, self.b.view];
        let ([a, b], [y]) = memory.real.access(reads, [self.y.view]);
        let rows = rows_per_task(cols_a + cols_b);
        let parts = chunks_of(y, rows * (cols_a + cols_b));
        each_part(&memory.team, parts, |_, task, y| {
            for (place, y) in y.chunks_exact_mut(cols_a + cols_b).enumerate() {
                let row = task * rows + place;
                y[..cols_a].copy_from_slice(&a[row * cols_a..][..cols_a]);
                y[cols_a..].copy_from_slice(&b[row * cols_b..][..cols_b]);
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        over(self.a, self.b)
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Split {
    /// `[R, A + B]`
    pub y: Matrix,
    /// `[R, A]`
    pub a: Matrix,
    /// `[R, B]`
    pub b: Matrix,
}

impl Kernel for Split {
    const NAME: &'static str = "split";
    const SHADER: &'static str = shader!([] "shared/element", "split");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("y", self.y),
            Operand::write("a", self.a),
            Operand::write("b", self.b),
        ]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let [cols_a, cols_b] = [self.a.cols, self.b.cols];
        let writes = [self.a.view, self.b.view];
        let ([y], [a, b]) = memory.real.access([self.y.view], writes);
        let rows = rows_per_task(cols_a + cols_b);
        let parts = (chunks_of(a, rows * cols_a), chunks_of(b, rows * cols_b));
        each_part(&memory.team, parts, |_, task, (a, b)| {
            let y = &y[task * rows * (cols_a + cols_b)..];
            let rows = a.chunks_exact_mut(cols_a).zip(b.chunks_exact_mut(cols_b));
            for ((a, b), y) in rows.zip(y.chunks_exact(cols_a + cols_b)) {
                a.copy_from_slice(&y[..cols_a]);
                b.copy_from_slice(&y[cols_a..]);
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        over(self.a, self.b)
    }
}

/// A thread for each element of y.
fn over(a: Matrix, b: Matrix) -> Dispatch {
    Dispatch {
        constants: vec![],
        dims: vec![a.rows as u32, a.cols as u32, b.cols as u32],
        groups: linear_groups(a.rows * (a.cols + b.cols)),
    }
}
