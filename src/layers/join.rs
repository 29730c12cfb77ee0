//! Joining two activations: the skip connections of a U-Net.

use crate::buffer::Matrix;
use crate::emit::{Emitter, Gradient};
use crate::kernels;
use crate::plan::Pass;

/// The columns of a, then those of b: channels last, the concatenation of their channels. It has two
/// inputs, so it is no [`Layer`](super::Layer).
#[derive(Clone, Debug)]
pub struct Join {
    /// Its name in the plan.
    pub name: String,
}

/// What [`Join`] saves: the columns of a and b.
#[derive(Debug)]
pub struct Joined {
    columns: [usize; 2],
}

impl Join {
    /// Appends `y = [a, b]`, of as many rows as both.
    pub fn forward(&self, e: &mut Emitter, a: Matrix, b: Matrix) -> (Matrix, Joined) {
        let e = &mut e.at(&self.name, Pass::Forward);
        let y = e.matrix("y", a.rows, a.cols + b.cols);
        e.launch("", kernels::join::Join { a, b, y });
        let columns = [a.cols, b.cols];
        (y, Joined { columns })
    }

    /// Appends the gradients by a and by b.
    pub fn backward(&self, e: &mut Emitter, saved: Joined, dy: Gradient) -> [Gradient; 2] {
        let e = &mut e.at(&self.name, Pass::Backward);
        let y = dy.matrix();
        let [cols_a, cols_b] = saved.columns;
        let (a, b) = (
            e.matrix("da", y.rows, cols_a),
            e.matrix("db", y.rows, cols_b),
        );
        e.launch("", kernels::join::Split { y, a, b });
        [Gradient::new(a), Gradient::new(b)]
    }
}
