//! `reconstructions.png`: a digit of each class, clean, noisy and reconstructed.

use std::path::Path;

use thiserror::Error;

use crate::data::{Images, Pixels};
use crate::files::{FileError, write_atomically};
use crate::train::{Inference, Restored};

/// Pixels of the picture per pixel of an image.
const SCALE: usize = 3;
/// Pixels between images.
const GAP: usize = 6;
/// Images in a row.
const COLUMNS: usize = 10;

/// Why there is no picture.
#[derive(Debug, Error)]
pub enum PictureError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] crate::device::DeviceError),
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Draws the first test image of each class (ten at most): a row clean, a row with the recipe's
/// noise, a row as the model restores it. Grey images only.
pub fn write_reconstructions(
    path: &Path,
    images: &Images,
    labels: &[u8],
    inference: &mut Inference,
) -> Result<(), PictureError> {
    let Pixels::Bytes(bytes) = &images.pixels else {
        return Ok(());
    };
    let features = images.features();
    let mut chosen = Vec::new();
    for class in 0..COLUMNS as u8 {
        if let Some(index) = labels.iter().position(|&label| label == class) {
            chosen.extend_from_slice(&bytes[index * features..][..features]);
        }
    }
    // Ten images are less than a block.
    let mut grid_of_all = None;
    inference.corrupt(0, &chosen, |_, restored| -> Result<(), PictureError> {
        let Restored {
            clean,
            noisy,
            restored,
        } = restored;
        let rows: [&[f32]; 3] = [&clean, &noisy, &restored];
        grid_of_all = Some(grid(&rows, images.height, images.width));
        Ok(())
    })?;
    let Some(grid) = grid_of_all else {
        return Ok(());
    };
    write_atomically(path, |writer| {
        let mut encoder = png::Encoder::new(writer, grid.width as u32, grid.height as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&grid.pixels)?;
        writer.finish()?;
        Ok(())
    })?;
    Ok(())
}

struct Grid {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// Rows of images of `height`×`width` values in [0, 1], enlarged, on white.
fn grid(rows: &[&[f32]], height: usize, width: usize) -> Grid {
    let features = height * width;
    let columns = rows
        .iter()
        .map(|row| row.len() / features)
        .max()
        .unwrap_or(0);
    let (cell_width, cell_height) = (width * SCALE + GAP, height * SCALE + GAP);
    let mut grid = Grid {
        width: columns * cell_width + GAP,
        height: rows.len() * cell_height + GAP,
        pixels: vec![],
    };
    grid.pixels = vec![255; grid.width * grid.height];
    for (row, images) in rows.iter().enumerate() {
        for (column, image) in images.chunks_exact(features).enumerate() {
            for y in 0..height * SCALE {
                let start = (GAP + row * cell_height + y) * grid.width + GAP + column * cell_width;
                let line = &image[y / SCALE * width..][..width];
                for (x, pixel) in grid.pixels[start..][..width * SCALE].iter_mut().enumerate() {
                    *pixel = (line[x / SCALE].clamp(0.0, 1.0) * 255.0).round() as u8;
                }
            }
        }
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_stands_in_its_cell() {
        let grid = grid(&[&[0.0, 1.0], &[0.5, 2.0]], 1, 1);
        assert_eq!(grid.width, 2 * (SCALE + GAP) + GAP);
        assert_eq!(grid.height, 2 * (SCALE + GAP) + GAP);
        let at = |row: usize, column: usize| {
            let (y, x) = (GAP + row * (SCALE + GAP), GAP + column * (SCALE + GAP));
            grid.pixels[y * grid.width + x]
        };
        assert_eq!([at(0, 0), at(0, 1), at(1, 0), at(1, 1)], [0, 255, 128, 255]);
        assert_eq!(grid.pixels[0], 255);
    }
}
