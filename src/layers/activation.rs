//! An activation as a layer of its own, where nothing precedes it that could fuse it.

use super::{Layer, Mode, Saved};
use crate::buffer::Matrix;
use crate::kernels::activation::{Activation, Backward, Forward};
use crate::plan::PlanBuilder;

/// `y = f(x)`, element by element.
#[derive(Clone, Debug)]
pub struct ActivationLayer {
    /// Its name in the plan.
    pub name: String,
    /// f
    pub activation: Activation,
}

impl Layer for ActivationLayer {
    fn learns(&self) -> bool {
        false
    }

    fn forward(&self, plan: &mut PlanBuilder, x: Matrix, _mode: Mode) -> Saved {
        let y = plan.temporary_matrix(format!("{}.y", self.name), x.rows, x.cols);
        plan.launch(
            format!("{} forward", self.name),
            Forward {
                x: x.view,
                y: y.view,
                activation: self.activation,
            },
        );
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
            let dx = plan.temporary_matrix(format!("{}.dx", self.name), dy.rows, dy.cols);
            plan.launch(
                format!("{} backward", self.name),
                Backward {
                    y: saved.y.view,
                    dy: dy.view,
                    dx: dx.view,
                    activation: self.activation,
                },
            );
            dx
        })
    }
}
