//! An activation as a layer of its own, where nothing precedes it that could fuse it.

use super::{Layer, activate_backward};
use crate::buffer::Matrix;
use crate::emit::{Emitter, Gradient};
use crate::kernels::activation::{Activation, Forward};
use crate::plan::Pass;

/// `y = f(x)`, element by element.
#[derive(Clone, Debug)]
pub struct ActivationLayer {
    /// Its name in the plan.
    pub name: String,
    /// f
    pub activation: Activation,
}

impl Layer for ActivationLayer {
    /// y, or x if the activation [reads](Activation::reads_input) it.
    type Saved = Matrix;

    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Matrix) {
        let e = &mut e.at(&self.name, Pass::Forward);
        let y = e.matrix("y", x.rows, x.cols);
        e.launch(
            "",
            Forward {
                x: x.view,
                y: y.view,
                activation: self.activation,
            },
        );
        (y, if self.activation.reads_input() { x } else { y })
    }

    fn backward(&self, e: &mut Emitter, saved: Matrix, dy: Gradient) -> Gradient {
        activate_backward(
            &mut e.at(&self.name, Pass::Backward),
            self.activation,
            saved,
            dy,
        )
    }
}
