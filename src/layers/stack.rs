//! Layers one after the other.

use super::{Layer, Mode, Saved};
use crate::plan::{Matrix, PlanBuilder};

/// A sequence of layers; backward visits them last to first.
#[derive(Debug, Default)]
pub struct Stack {
    /// First to last.
    pub layers: Vec<Box<dyn Layer>>,
}

impl Stack {
    /// Appends every layer's forward. Returns the output and what each layer saved.
    pub fn forward(&self, plan: &mut PlanBuilder, x: Matrix, mode: Mode) -> (Matrix, Vec<Saved>) {
        let mut y = x;
        let mut saved = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let step = layer.forward(plan, y, mode);
            y = step.y;
            saved.push(step);
        }
        (y, saved)
    }

    /// Appends every layer's backward. The first layer computes its data gradient only if
    /// `need_dx`: nobody asks for the gradient of an image.
    pub fn backward(
        &self,
        plan: &mut PlanBuilder,
        saved: &[Saved],
        dy: Matrix,
        need_dx: bool,
    ) -> Option<Matrix> {
        let mut gradient = Some(dy);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let dy = gradient.expect("only the first layer may omit its data gradient");
            gradient = layer.backward(plan, &saved[index], dy, need_dx || index > 0);
        }
        gradient
    }
}
