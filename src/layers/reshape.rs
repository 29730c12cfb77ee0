//! Reshaping: the same numbers in other rows, at no cost.

use super::{Layer, Mode, Saved};
use crate::buffer::Matrix;
use crate::image::ImageShape;
use crate::plan::PlanBuilder;

/// The same elements in rows of another width. Channels last, an image is a run of its pixels, so
///
/// ```text
/// flatten     [N·H·W, C] → [N, H·W·C]      cols = H·W·C
/// unflatten   [N, H·W·C] → [N·H·W, C]      cols = C
/// ```
/// are both another look at one view. Where it stands, PyTorch has a `Flatten` or an `Unflatten`.
#[derive(Clone, Debug)]
pub struct Reshape {
    /// Columns of the output.
    pub cols: usize,
}

impl Reshape {
    /// Every image into one row.
    pub fn flatten(image: ImageShape) -> Self {
        Reshape {
            cols: image.features(),
        }
    }

    /// Every pixel into a row of its own.
    pub fn unflatten(image: ImageShape) -> Self {
        Reshape {
            cols: image.channels,
        }
    }
}

impl Layer for Reshape {
    fn learns(&self) -> bool {
        false
    }

    fn forward(&self, _plan: &mut PlanBuilder, x: Matrix, _mode: Mode) -> Saved {
        Saved::new(x, x.view.matrix(x.view.len / self.cols, self.cols))
    }

    fn backward(
        &self,
        _plan: &mut PlanBuilder,
        saved: &Saved,
        dy: Matrix,
        need_dx: bool,
    ) -> Option<Matrix> {
        need_dx.then(|| dy.view.matrix(saved.x.rows, saved.x.cols))
    }
}
