//! Pooling and upsampling: layers without parameters that change the size of images.

use super::Layer;
use crate::buffer::{Matrix, View};
use crate::emit::{Emitter, Gradient};
use crate::kernels::Window;
use crate::kernels::pool::{AveragePool, AveragePoolBackward, MaxPool, MaxPoolBackward};
use crate::kernels::upsample::{Enlargement, Upsample, UpsampleBackward};
use crate::plan::Pass;

/// The maximum under a window, channel by channel: PyTorch's `MaxPool2d`.
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    /// Its name in the plan.
    pub name: String,
    /// How the window slides.
    pub window: Window,
}

/// What [`MaxPool2d`] saves.
#[derive(Debug)]
pub struct Maxima {
    x: Matrix,
    /// For each y, where in x it was.
    argmax: View,
}

impl Layer for MaxPool2d {
    type Saved = Maxima;

    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Maxima) {
        let e = &mut e.at(&self.name, Pass::Forward);
        let window = self.window;
        let rows = x.rows / window.area() * window.map_area();
        let y = e.matrix("y", rows, x.cols);
        let argmax = e.indices("argmax", y.view.len);
        e.launch(
            "",
            MaxPool {
                window,
                x,
                y,
                argmax,
            },
        );
        (y, Maxima { x, argmax })
    }

    fn backward(&self, e: &mut Emitter, saved: Maxima, dy: Gradient) -> Gradient {
        let e = &mut e.at(&self.name, Pass::Backward);
        let dx = e.matrix("dx", saved.x.rows, saved.x.cols);
        e.launch(
            "",
            MaxPoolBackward {
                window: self.window,
                argmax: saved.argmax,
                dy: dy.matrix(),
                dx,
            },
        );
        Gradient::new(dx)
    }
}

/// The mean under a window, padding counted as zeros: PyTorch's `AvgPool2d`.
#[derive(Clone, Debug)]
pub struct AvgPool2d {
    /// Its name in the plan.
    pub name: String,
    /// How the window slides.
    pub window: Window,
}

impl Layer for AvgPool2d {
    /// x
    type Saved = Matrix;

    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Matrix) {
        let e = &mut e.at(&self.name, Pass::Forward);
        let window = self.window;
        let rows = x.rows / window.area() * window.map_area();
        let y = e.matrix("y", rows, x.cols);
        e.launch("", AveragePool { window, x, y });
        (y, x)
    }

    fn backward(&self, e: &mut Emitter, x: Matrix, dy: Gradient) -> Gradient {
        let e = &mut e.at(&self.name, Pass::Backward);
        let dx = e.matrix("dx", x.rows, x.cols);
        let (window, dy) = (self.window, dy.matrix());
        e.launch("", AveragePoolBackward { window, dy, dx });
        Gradient::new(dx)
    }
}

/// Every pixel becomes a block of itself: PyTorch's `Upsample` with `mode="nearest"`.
#[derive(Clone, Debug)]
pub struct Upsample2d {
    /// Its name in the plan.
    pub name: String,
    /// Sizes of both sides.
    pub enlargement: Enlargement,
}

impl Layer for Upsample2d {
    /// x
    type Saved = Matrix;

    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Matrix) {
        let e = &mut e.at(&self.name, Pass::Forward);
        let enlargement = self.enlargement;
        let rows = x.rows * enlargement.factor[0] * enlargement.factor[1];
        let y = e.matrix("y", rows, x.cols);
        e.launch("", Upsample { enlargement, x, y });
        (y, x)
    }

    fn backward(&self, e: &mut Emitter, x: Matrix, dy: Gradient) -> Gradient {
        let e = &mut e.at(&self.name, Pass::Backward);
        let dx = e.matrix("dx", x.rows, x.cols);
        let (enlargement, dy) = (self.enlargement, dy.matrix());
        e.launch(
            "",
            UpsampleBackward {
                enlargement,
                dy,
                dx,
            },
        );
        Gradient::new(dx)
    }
}
