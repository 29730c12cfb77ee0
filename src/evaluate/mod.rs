//! Evaluation: are the features better than the pixels they were learnt from, and how well is noise
//! removed?

mod denoising;
mod directions;
mod judge;
mod knn;
mod measurement;
mod nearest;
mod normalise;
mod search;
mod vote;

pub(crate) use knn::BLOCK;

pub use denoising::{Denoising, denoising, psnr, ssim};
pub use judge::{FewLabel, Judge, Judgement, Labels, Representation, few_label};
pub use knn::Knn;
pub use measurement::{BASELINE, Gain, Measurement, Origin, Row, Spread, summarise, write_csv};
pub use nearest::{classify, neighbours};
pub use normalise::normalise;
pub use search::{Distance, Draws, Found, Search};
pub use vote::majority;

use crate::data::{DataError, Images};

/// Rows of reals: images as pixels, or their features.
pub trait Rows: Sync {
    /// How many.
    fn count(&self) -> usize;
    /// Values in each.
    fn width(&self) -> usize;
    /// Copies row `index` into `row`. Errors if it is in a file that cannot be read.
    fn copy(&self, index: usize, row: &mut [f32]) -> Result<(), DataError>;
}

impl Rows for Images {
    fn count(&self) -> usize {
        self.count
    }

    fn width(&self) -> usize {
        self.features()
    }

    fn copy(&self, index: usize, row: &mut [f32]) -> Result<(), DataError> {
        self.row_f32(index, row)
    }
}

/// Features, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Features per row.
    pub width: usize,
    /// `[count, width]`
    pub values: Vec<f32>,
}

impl Rows for Features {
    fn count(&self) -> usize {
        self.values.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn copy(&self, index: usize, row: &mut [f32]) -> Result<(), DataError> {
        row.copy_from_slice(&self.values[index * self.width..][..self.width]);
        Ok(())
    }
}
