//! Pooling and upsampling: layers without parameters that change the size of images.

use super::{Layer, Mode, Saved};
use crate::buffer::Matrix;
use crate::kernels::Window;
use crate::kernels::pool::{AveragePool, AveragePoolBackward, MaxPool, MaxPoolBackward};
use crate::kernels::upsample::{Enlargement, Upsample, UpsampleBackward};
use crate::plan::PlanBuilder;

/// The maximum under a window, channel by channel: PyTorch's `MaxPool2d`.
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    /// Its name in the plan.
    pub name: String,
    /// How the window slides.
    pub window: Window,
}

impl Layer for MaxPool2d {
    fn learns(&self) -> bool {
        false
    }

    fn forward(&self, plan: &mut PlanBuilder, x: Matrix, _mode: Mode) -> Saved {
        let rows = x.rows / self.window.area() * self.window.map_area();
        let y = plan.temporary_matrix(format!("{}.y", self.name), rows, x.cols);
        let argmax = plan.temporary_indices(format!("{}.argmax", self.name), y.view.len);
        plan.launch(
            format!("{} forward", self.name),
            MaxPool {
                window: self.window,
                x,
                y,
                argmax,
            },
        );
        Saved {
            argmax: Some(argmax),
            ..Saved::new(x, y)
        }
    }

    fn backward(
        &self,
        plan: &mut PlanBuilder,
        saved: &Saved,
        dy: Matrix,
        need_dx: bool,
    ) -> Option<Matrix> {
        need_dx.then(|| {
            let Matrix { rows, cols, .. } = saved.x;
            let dx = plan.temporary_matrix(format!("{}.dx", self.name), rows, cols);
            plan.launch(
                format!("{} backward", self.name),
                MaxPoolBackward {
                    window: self.window,
                    argmax: saved.argmax.expect("saved by this layer's forward"),
                    dy,
                    dx,
                },
            );
            dx
        })
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
    fn learns(&self) -> bool {
        false
    }

    fn forward(&self, plan: &mut PlanBuilder, x: Matrix, _mode: Mode) -> Saved {
        let window = self.window;
        let rows = x.rows / window.area() * window.map_area();
        let y = plan.temporary_matrix(format!("{}.y", self.name), rows, x.cols);
        let label = format!("{} forward", self.name);
        plan.launch(label, AveragePool { window, x, y });
        Saved::new(x, y)
    }

    fn backward(
        &self,
        plan: &mut PlanBuilder,
        saved: &Saved,
        dy: Matrix,
        need_dx: bool,
    ) -> Option<Matrix> {
        need_dx.then(|| {
            let (window, Matrix { rows, cols, .. }) = (self.window, saved.x);
            let dx = plan.temporary_matrix(format!("{}.dx", self.name), rows, cols);
            let label = format!("{} backward", self.name);
            plan.launch(label, AveragePoolBackward { window, dy, dx });
            dx
        })
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
    fn learns(&self) -> bool {
        false
    }

    fn forward(&self, plan: &mut PlanBuilder, x: Matrix, _mode: Mode) -> Saved {
        let enlargement = self.enlargement;
        let rows = x.rows * enlargement.factor[0] * enlargement.factor[1];
        let y = plan.temporary_matrix(format!("{}.y", self.name), rows, x.cols);
        let label = format!("{} forward", self.name);
        plan.launch(label, Upsample { enlargement, x, y });
        Saved::new(x, y)
    }

    fn backward(
        &self,
        plan: &mut PlanBuilder,
        saved: &Saved,
        dy: Matrix,
        need_dx: bool,
    ) -> Option<Matrix> {
        need_dx.then(|| {
            let (enlargement, Matrix { rows, cols, .. }) = (self.enlargement, saved.x);
            let dx = plan.temporary_matrix(format!("{}.dx", self.name), rows, cols);
            let label = format!("{} backward", self.name);
            plan.launch(
                label,
                UpsampleBackward {
                    enlargement,
                    dy,
                    dx,
                },
            );
            dx
        })
    }
}
