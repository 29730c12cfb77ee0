//! Pictures of many images: a PNG file of tiles in rows.

use std::path::Path;

use crate::files::{FileError, write_atomically};
use crate::image::ImageShape;

/// Pixels between images.
const GAP: usize = 6;
/// Most pixels of the picture per pixel of an image.
const MAX_SCALE: usize = 3;
/// Images are enlarged to at most this many pixels.
const ENLARGED: usize = 96;

/// Writes rows of images of a shape, `[images · H·W·C]` values in [0, 1] each, as a PNG file on white.
///
/// Small images are enlarged by whole pixels. Three channels are red, green and blue; of any other
/// number only the first is drawn, grey.
///
/// # Errors
///
/// [`FileError`] if the file cannot be written.
pub fn write_grid(path: &Path, rows: &[&[f32]], shape: ImageShape) -> Result<(), FileError> {
    let grid = Grid::new(rows, shape);
    write_png(path, [grid.height, grid.width], grid.colours, &grid.pixels)
}

/// Writes one image of a shape, values in [0, 1], as a PNG file of its size. Channels as in
/// [`write_grid`].
///
/// # Errors
///
/// [`FileError`] if the file cannot be written.
pub fn write_image(path: &Path, image: &[f32], shape: ImageShape) -> Result<(), FileError> {
    let colours = colours(shape);
    let pixels = image.chunks_exact(shape.channels);
    let bytes: Vec<u8> = pixels
        .flat_map(|pixel| pixel[..colours].iter().map(|&value| byte(value)))
        .collect();
    write_png(path, shape.size(), colours, &bytes)
}

/// Bytes per pixel of pictures of images of a shape.
fn colours(shape: ImageShape) -> usize {
    if shape.channels == 3 { 3 } else { 1 }
}

/// Brightness of a value in [0, 1], from 0 to 255.
fn byte(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

fn write_png(
    path: &Path,
    [height, width]: [usize; 2],
    colours: usize,
    pixels: &[u8],
) -> Result<(), FileError> {
    write_atomically(path, |writer| {
        let mut encoder = png::Encoder::new(writer, width as u32, height as u32);
        encoder.set_color(match colours {
            3 => png::ColorType::Rgb,
            _ => png::ColorType::Grayscale,
        });
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(pixels)?;
        writer.finish()?;
        Ok(())
    })
}

/// Pixels of the picture per pixel of an image.
fn scale(height: usize, width: usize) -> usize {
    (ENLARGED / height.max(width).max(1)).clamp(1, MAX_SCALE)
}

struct Grid {
    width: usize,
    height: usize,
    /// Bytes per pixel.
    colours: usize,
    pixels: Vec<u8>,
}

impl Grid {
    fn new(rows: &[&[f32]], shape: ImageShape) -> Grid {
        let ([height, width], channels) = (shape.size(), shape.channels);
        let (features, scale) = (shape.features(), scale(height, width));
        let columns = rows.iter().map(|row| row.len() / features).max();
        let (cell_width, cell_height) = (width * scale + GAP, height * scale + GAP);
        let mut grid = Grid {
            width: columns.unwrap_or(0) * cell_width + GAP,
            height: rows.len() * cell_height + GAP,
            colours: colours(shape),
            pixels: vec![],
        };
        let colours = grid.colours;
        grid.pixels = vec![255; grid.width * grid.height * colours];
        for (row, images) in rows.iter().enumerate() {
            for (column, image) in images.chunks_exact(features).enumerate() {
                let (top, left) = (GAP + row * cell_height, GAP + column * cell_width);
                for y in 0..height * scale {
                    let line = &image[y / scale * width * channels..][..width * channels];
                    let start = ((top + y) * grid.width + left) * colours;
                    let pixels = &mut grid.pixels[start..][..width * scale * colours];
                    for (x, pixel) in pixels.chunks_exact_mut(colours).enumerate() {
                        let values = &line[x / scale * channels..][..colours];
                        for (target, &value) in pixel.iter_mut().zip(values) {
                            *target = byte(value);
                        }
                    }
                }
            }
        }
        grid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(height: usize, width: usize, channels: usize) -> ImageShape {
        ImageShape {
            height,
            width,
            channels,
        }
    }

    #[test]
    fn every_image_stands_in_its_cell() {
        let grid = Grid::new(&[&[0.0, 1.0], &[0.5, 2.0]], shape(1, 1, 1));
        let cell = MAX_SCALE + GAP;
        assert_eq!((grid.width, grid.height), (2 * cell + GAP, 2 * cell + GAP));
        let at = |row: usize, column: usize| {
            let (y, x) = (GAP + row * cell, GAP + column * cell);
            grid.pixels[y * grid.width + x]
        };
        assert_eq!([at(0, 0), at(0, 1), at(1, 0), at(1, 1)], [0, 255, 128, 255]);
        assert_eq!(grid.pixels[0], 255);
    }

    #[test]
    fn colour_images_keep_their_colours_and_their_pixels_places() {
        // One image, a red pixel left of a blue one, and a shorter row.
        let image = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let grid = Grid::new(&[&image, &[]], shape(1, 2, 3));
        let at = |x: usize| &grid.pixels[(GAP * grid.width + GAP + x) * 3..][..3];
        assert_eq!(at(0), [255, 0, 0]);
        assert_eq!(at(2), [255, 0, 0]);
        assert_eq!(at(3), [0, 0, 255]);
        assert_eq!(at(6), [255, 255, 255]);
    }

    #[test]
    fn large_images_are_not_enlarged() {
        assert_eq!(
            [scale(28, 28), scale(32, 48), scale(64, 1), scale(500, 9)],
            [3, 2, 1, 1]
        );
    }
}
