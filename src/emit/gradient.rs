//! Gradients, which are owned.

use super::Emitter;
use crate::buffer::Matrix;
use crate::kernels::elementwise::{Add, Copy};
use crate::plan::Pass;

/// The launch that adds the gradients of an activation that two layers read.
pub const SUM_OVER_BRANCHES: &str = "sum over branches";

/// What launches on gradients are called that belong to no layer.
const LAYER: &str = "gradients";

/// The gradient of the loss by an activation, of the activation's shape.
///
/// An activation is a [`Matrix`]: every layer may read it, and no layer overwrites it. A gradient has one
/// owner, which may overwrite it: so `Gradient` is neither `Copy` nor `Clone`. Where the forward pass forks, the
/// backward pass sums ([`plus`](Self::plus)); where the forward pass sums, the backward pass forks
/// ([`fork`](Self::fork)).
#[derive(Debug)]
#[must_use = "call `unused()` on a gradient that is not needed"]
pub struct Gradient(Matrix);

impl Gradient {
    /// The gradient that lies in `matrix`. From here on, the caller neither writes nor reads `matrix`.
    pub fn new(matrix: Matrix) -> Gradient {
        Gradient(matrix)
    }

    /// Where it lies, for a launch that reads or overwrites it.
    pub fn matrix(&self) -> Matrix {
        self.0
    }

    /// The same elements in `rows` rows of `cols` columns.
    ///
    /// Panics unless there are as many.
    pub fn reshaped(self, rows: usize, cols: usize) -> Gradient {
        Gradient(self.0.view.matrix(rows, cols))
    }

    /// Appends the sum with another gradient of the same activation, if there is one: the backward
    /// pass of an activation that two layers read. In place.
    ///
    /// Panics unless both have the same shape.
    pub fn plus(self, e: &mut Emitter, other: impl Into<Option<Gradient>>) -> Gradient {
        if let Some(Gradient(other)) = other.into() {
            let shape = |matrix: Matrix| [matrix.rows, matrix.cols];
            assert_eq!(shape(self.0), shape(other), "gradients of one activation");
            let (x, y) = (other.view, self.0.view);
            e.at(LAYER, Pass::Backward)
                .launch(SUM_OVER_BRANCHES, Add { x, y });
        }
        self
    }

    /// Appends a copy: the backward pass of a sum of two activations, whose gradients are equal.
    pub fn fork(self, e: &mut Emitter) -> (Gradient, Gradient) {
        let mut e = e.at(LAYER, Pass::Backward);
        let copy = e.matrix("copy", self.0.rows, self.0.cols);
        let (x, y) = (self.0.view, copy.view);
        e.launch("copy for a branch", Copy { x, y });
        (self, Gradient(copy))
    }

    /// Gives the gradient up: nothing will read it. The plan drops the launches that compute it, when it is
    /// finished.
    pub fn unused(self) {}
}
