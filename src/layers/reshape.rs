//! Reshaping: the same numbers in other rows, at no cost.

use super::Layer;
use crate::buffer::Matrix;
use crate::emit::{Emitter, Gradient};
use crate::image::ImageShape;

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
    /// Rows and columns of x.
    type Saved = [usize; 2];

    fn forward(&self, _: &mut Emitter, x: Matrix) -> (Matrix, [usize; 2]) {
        let y = x.view.matrix(x.view.len / self.cols, self.cols);
        (y, [x.rows, x.cols])
    }

    fn backward(&self, _: &mut Emitter, [rows, cols]: [usize; 2], dy: Gradient) -> Gradient {
        dy.reshaped(rows, cols)
    }
}
