//! Layers one after the other.

use super::{Layer, Mode, Saved};
use crate::buffer::Matrix;
use crate::plan::PlanBuilder;

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

    /// Appends the layers' backward, down to the first one that learns; below it only if `need_dx`:
    /// nobody asks for the gradient of an image.
    pub fn backward(
        &self,
        plan: &mut PlanBuilder,
        saved: &[Saved],
        dy: Matrix,
        need_dx: bool,
    ) -> Option<Matrix> {
        let mut gradient = dy;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let need_dx = need_dx || self.layers[..index].iter().any(|layer| layer.learns());
            gradient = layer.backward(plan, &saved[index], gradient, need_dx)?;
        }
        Some(gradient)
    }
}
