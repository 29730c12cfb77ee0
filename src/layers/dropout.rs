//! Dropout.

use super::Layer;
use crate::buffer::Matrix;
use crate::emit::{Emitter, Gradient, Mode};
use crate::kernels::dropout::Dropout as Kernel;
use crate::plan::Pass;

/// Sets a part of the elements to 0 in training and nothing in evaluation: PyTorch's `Dropout`.
#[derive(Clone, Debug)]
pub struct Dropout {
    /// Its name in the plan.
    pub name: String,
    /// The probability that an element is dropped, from 0 to below 1.
    pub rate: f64,
}

impl Layer for Dropout {
    /// The random stream of the mask; none in evaluation.
    type Saved = Option<u32>;

    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Option<u32>) {
        if e.mode() == Mode::Evaluation {
            return (x, None);
        }
        let e = &mut e.at(&self.name, Pass::Forward);
        let stream = e.stream();
        (self.mask(e, "y", x, stream), Some(stream))
    }

    fn backward(&self, e: &mut Emitter, stream: Option<u32>, dy: Gradient) -> Gradient {
        let Some(stream) = stream else {
            return dy;
        };
        let e = &mut e.at(&self.name, Pass::Backward);
        Gradient::new(self.mask(e, "dx", dy.matrix(), stream))
    }
}

impl Dropout {
    /// Appends the mask of a stream over x: forward and backward are the same function.
    fn mask(&self, e: &mut Emitter, what: &str, x: Matrix, stream: u32) -> Matrix {
        let y = e.matrix(what, x.rows, x.cols);
        let (clock, seed) = (e.clock(), e.seed());
        e.launch(
            "",
            Kernel {
                x: x.view,
                clock,
                y: y.view,
                rate: self.rate,
                seed,
                stream,
            },
        );
        y
    }
}
