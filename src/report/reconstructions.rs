//! `reconstructions.png`: an image of each class, clean, noisy and reconstructed.

use std::path::Path;

use thiserror::Error;

use super::grid::write_grid;
use crate::data::Images;
use crate::files::FileError;
use crate::train::{Inference, Restored, TrainError};

/// Images in a row.
const COLUMNS: usize = 10;

/// Why there is no picture.
#[derive(Debug, Error)]
pub enum PictureError {
    /// The device failed, or an image cannot be read.
    #[error(transparent)]
    Inference(#[from] TrainError),
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Draws the first test image of each class (ten at most), or the first ten images if they are
/// unlabelled: a row clean, a row with the recipe's noise, a row as the model restores it.
pub fn write_reconstructions(
    path: &Path,
    images: &Images,
    labels: &[u8],
    inference: &mut Inference,
) -> Result<(), PictureError> {
    let first = |class| labels.iter().position(|&label| label == class);
    let indices: Vec<usize> = match labels.is_empty() {
        true => (0..images.count.min(COLUMNS)).collect(),
        false => (0..COLUMNS as u8).filter_map(first).collect(),
    };
    let mut rows = [vec![], vec![], vec![]];
    let chosen = images.pick(&indices);
    inference.corrupt(0, &chosen, |_, block| -> Result<(), PictureError> {
        let Restored {
            clean,
            noisy,
            restored,
        } = block;
        for (row, block) in rows.iter_mut().zip([clean, noisy, restored]) {
            row.extend(block);
        }
        Ok(())
    })?;
    write_grid(path, &rows.each_ref().map(Vec::as_slice), images.shape())?;
    Ok(())
}
