//! Nearest-neighbour upsampling by a whole factor: every pixel becomes a block of itself.
//!
//! ```text
//! forward    y[n, h, w, c]  = x[n, ⌊h/f⌋, ⌊w/g⌋, c]
//! backward   dx[n, h, w, c] = Σ over i < f, j < g of dy[n, h·f + i, w·g + j, c]
//!
//! x, dx [N·H·W, C];  y, dy [N·fH·gW, C];  f, g the factors down and across
//! ```
//! Backward needs nothing of forward.

use super::{Dispatch, Kernel, linear_groups, parallel, shader};
use crate::buffer::{Matrix, Operand};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: one element of one image, in f64.
pub mod definition {
    /// `y[h, w, c]`, of x with so many columns.
    pub fn forward(
        x: &[f64],
        [width, channels]: [usize; 2],
        [f, g]: [usize; 2],
        [h, w, c]: [usize; 3],
    ) -> f64 {
        x[(h / f * width + w / g) * channels + c]
    }

    /// `dx[h, w, c]`, of an x with so many columns.
    pub fn backward(
        dy: &[f64],
        [width, channels]: [usize; 2],
        [f, g]: [usize; 2],
        [h, w, c]: [usize; 3],
    ) -> f64 {
        let mut dx = 0.0;
        for i in 0..f {
            for j in 0..g {
                dx += dy[((h * f + i) * width * g + w * g + j) * channels + c];
            }
        }
        dx
    }
}

/// Sizes of both sides, \[rows, columns\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enlargement {
    /// Of an image on the smaller side.
    pub size: [usize; 2],
    /// f and g
    pub factor: [usize; 2],
}

impl Enlargement {
    /// Rows and columns of an image on the larger side.
    pub fn enlarged(&self) -> [usize; 2] {
        [0, 1].map(|i| self.size[i] * self.factor[i])
    }

    /// Row of the smaller side that row `place` of the larger comes from.
    fn source(&self, place: usize) -> usize {
        let [rows, cols] = self.enlarged();
        let (image, inside) = (place / (rows * cols), place % (rows * cols));
        let (row, col) = (inside / cols, inside % cols);
        (image * self.size[0] + row / self.factor[0]) * self.size[1] + col / self.factor[1]
    }

    /// Row of the larger side that block element (i, j) of row `position` of the smaller is.
    fn target(&self, position: usize, [i, j]: [usize; 2]) -> usize {
        let [rows, cols] = self.enlarged();
        let area = self.size[0] * self.size[1];
        let (image, inside) = (position / area, position % area);
        let (row, col) = (inside / self.size[1], inside % self.size[1]);
        (image * rows + row * self.factor[0] + i) * cols + col * self.factor[1] + j
    }

    fn dispatch(&self, small: Matrix, large: Matrix, target: Matrix) -> Dispatch {
        let area = self.size[0] * self.size[1];
        assert!(
            small.rows.is_multiple_of(area)
                && large.rows == small.rows * self.factor[0] * self.factor[1]
                && small.cols == large.cols,
            "enlarging {:?} to {:?}: {self:?}",
            [small.rows, small.cols],
            [large.rows, large.cols]
        );
        let [rows, cols] = self.size;
        let [down, across] = self.factor;
        let dims = [small.rows / area, rows, cols, down, across, small.cols];
        Dispatch {
            constants: vec![],
            dims: dims.iter().map(|&dim| dim as u32).collect(),
            groups: linear_groups(target.view.len),
        }
    }
}

/// Every pixel becomes a block.
#[derive(Clone, Debug)]
pub struct Upsample {
    /// Sizes.
    pub enlargement: Enlargement,
    /// `[N·H·W, C]`
    pub x: Matrix,
    /// `[N·fH·gW, C]`
    pub y: Matrix,
}

impl Kernel for Upsample {
    const NAME: &'static str = "upsample";
    const SHADER: &'static str = shader!([] "shared/element", "upsample");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("x", self.x), Operand::write("y", self.y)]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let c = self.x.cols;
        let ([x], [y]) = memory.real.access([self.x.view], [self.y.view]);
        parallel::chunks(&memory.team, y, c, |first, y| {
            for (place, y) in (first / c..).zip(y.chunks_exact_mut(c)) {
                y.copy_from_slice(&x[self.enlargement.source(place) * c..][..c]);
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        self.enlargement.dispatch(self.x, self.y, self.y)
    }
}

/// Every block's gradients are added.
#[derive(Clone, Debug)]
pub struct UpsampleBackward {
    /// Sizes.
    pub enlargement: Enlargement,
    /// `[N·fH·gW, C]`
    pub dy: Matrix,
    /// `[N·H·W, C]`
    pub dx: Matrix,
}

impl Kernel for UpsampleBackward {
    const NAME: &'static str = "upsample_backward";
    const SHADER: &'static str = shader!([] "shared/element", "upsample_backward");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("dy", self.dy), Operand::write("dx", self.dx)]
    }

    fn flops(&self) -> u64 {
        self.dy.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let c = self.dx.cols;
        let [down, across] = self.enlargement.factor;
        let ([dy], [dx]) = memory.real.access([self.dy.view], [self.dx.view]);
        parallel::chunks(&memory.team, dx, c, |first, dx| {
            for (position, dx) in (first / c..).zip(dx.chunks_exact_mut(c)) {
                dx.fill(T::zero());
                for element in 0..down * across {
                    let place = [element / across, element % across];
                    let dy = &dy[self.enlargement.target(position, place) * c..];
                    dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy);
                }
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        self.enlargement.dispatch(self.dx, self.dy, self.dx)
    }
}
