//! Images made up: as many as one likes, to measure what size costs.
//!
//! Each of ten classes is a few blobs of light. An image has its class's blobs, each moved a little and
//! as bright as chance has it. Image i of a seed is the same in sets of every size.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{DataError, Images, Pixels, idx};
use crate::files::write_atomically;

/// Classes that are told apart.
pub const CLASSES: u8 = 10;

/// Blobs of an image.
const BLOBS: usize = 4;
/// The stream of random numbers that the classes are drawn from; image i has stream i.
const CLASS_STREAM: u64 = u64::MAX;
/// Images that are made before they are written.
const BLOCK: usize = 1 << 12;

/// A set of images, none of which is made before it is asked for.
#[derive(Clone, Debug)]
pub struct Synthetic {
    /// How many.
    pub count: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    seed: u64,
    classes: Vec<[Blob; BLOBS]>,
}

/// Lengths are parts of the image's sides.
#[derive(Clone, Copy, Debug)]
struct Blob {
    y: f32,
    x: f32,
    radius: f32,
}

impl Blob {
    fn draw(random: &mut ChaCha8Rng) -> Blob {
        Blob {
            y: random.random_range(0.2..0.8),
            x: random.random_range(0.2..0.8),
            radius: random.random_range(0.15..0.35),
        }
    }

    /// Brightness of pixel `index` of `len` in one direction: 1 at `centre`, 0 a radius away.
    fn profile(&self, centre: f32, index: usize, len: usize) -> f32 {
        let distance = ((index as f32 + 0.5) / len as f32 - centre) / self.radius;
        (1.0 - distance * distance).max(0.0)
    }
}

impl Synthetic {
    /// `count` grey images of a height and a width.
    pub fn new(count: usize, [height, width]: [usize; 2], seed: u64) -> Synthetic {
        let mut random = stream(seed, CLASS_STREAM);
        let mut class = || std::array::from_fn(|_| Blob::draw(&mut random));
        Synthetic {
            count,
            height,
            width,
            seed,
            classes: (0..CLASSES).map(|_| class()).collect(),
        }
    }

    /// Makes image `index`, row by row into `pixels`. Returns its class.
    pub fn image(&self, index: usize, pixels: &mut [u8]) -> u8 {
        let mut random = stream(self.seed, index as u64);
        let class = random.random_range(0..CLASSES);
        let mut sums = vec![0.0; self.height * self.width];
        for blob in &self.classes[usize::from(class)] {
            let [dy, dx] = [0, 1].map(|_| random.random_range(-0.1..0.1));
            let light = random.random_range(100.0..255.0);
            let across: Vec<f32> = (0..self.width)
                .map(|column| blob.profile(blob.x + dx, column, self.width))
                .collect();
            for (row, sums) in sums.chunks_exact_mut(self.width).enumerate() {
                let down = light * blob.profile(blob.y + dy, row, self.height);
                for (sum, across) in sums.iter_mut().zip(&across) {
                    *sum += down * across;
                }
            }
        }
        for (pixel, sum) in pixels.iter_mut().zip(sums) {
            *pixel = sum as u8; // saturates
        }
        class
    }

    /// Makes images `first ..`, as many as `pixels` and `labels` have room for, on all cores.
    fn block(&self, first: usize, pixels: &mut [u8], labels: &mut [u8]) {
        let images = pixels.par_chunks_exact_mut(self.height * self.width);
        images
            .zip(labels)
            .enumerate()
            .for_each(|(index, (pixels, label))| *label = self.image(first + index, pixels));
    }

    /// All of them in memory, with their classes.
    pub fn in_memory(&self) -> (Images, Vec<u8>) {
        let mut pixels = vec![0; self.count * self.height * self.width];
        let mut labels = vec![0; self.count];
        self.block(0, &mut pixels, &mut labels);
        let images = Images {
            count: self.count,
            height: self.height,
            width: self.width,
            channels: 1,
            pixels: Pixels::Bytes(pixels.into()),
        };
        (images, labels)
    }

    /// Writes them as an IDX file, and their classes as another, each whole or not at all. A few
    /// images at a time are in memory; `progress` hears how many are done.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] if writing fails.
    pub fn write(
        &self,
        images: &Path,
        labels: Option<&Path>,
        mut progress: impl FnMut(usize),
    ) -> Result<(), DataError> {
        let features = self.height * self.width;
        let mut classes = vec![0; self.count];
        write_atomically(images, |writer| {
            writer.write_all(&idx::image_header([self.count, self.height, self.width]))?;
            let mut pixels = vec![0; BLOCK.min(self.count) * features];
            for (block, classes) in classes.chunks_mut(BLOCK).enumerate() {
                let pixels = &mut pixels[..classes.len() * features];
                self.block(block * BLOCK, pixels, classes);
                writer.write_all(pixels)?;
                progress(block * BLOCK + classes.len());
            }
            Ok(())
        })?;
        if let Some(labels) = labels {
            write_atomically(labels, |writer| {
                writer.write_all(&idx::label_header(self.count))?;
                writer.write_all(&classes)
            })?;
        }
        Ok(())
    }
}

/// The data set's random numbers for one purpose.
fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_set_begins_with_the_smaller_one_and_another_seed_is_another_set() {
        let make = |count, seed| Synthetic::new(count, [9, 7], seed).in_memory();
        let (small, labels) = make(20, 3);
        let (mut large, more_labels) = make(50, 3);
        large.truncate(20);
        assert_eq!(small, large);
        assert_eq!(labels, more_labels[..20]);
        assert_ne!(small, make(20, 4).0);
    }

    #[test]
    fn what_is_written_is_what_is_made_in_memory_and_classes_differ() {
        let folder = tempfile::tempdir().unwrap();
        let (images, labels) = (folder.path().join("x"), folder.path().join("y"));
        let set = Synthetic::new(BLOCK + 3, [4, 5], 0);
        let mut done = vec![];
        set.write(&images, Some(&labels), |count| done.push(count))
            .unwrap();
        assert_eq!(done, [BLOCK, BLOCK + 3]);
        let (expected, expected_labels) = set.in_memory();
        let read = idx::read_images(&images).unwrap();
        assert_eq!(read.shape(), expected.shape());
        assert_eq!(read.to_f32().unwrap(), expected.to_f32().unwrap());
        assert_eq!(idx::read_labels(&labels).unwrap(), expected_labels);
        assert!((0..CLASSES).all(|class| expected_labels.contains(&class)));
    }

    #[test]
    fn a_class_is_recognised_by_its_mean_image() {
        let (images, labels) = Synthetic::new(2000, [12, 12], 1).in_memory();
        let values = images.to_f32().unwrap();
        let rows = || values.chunks_exact(144).zip(&labels);
        let (known, asked) = (1500, 500);
        let mut means = vec![[0.0; 144]; usize::from(CLASSES)];
        for (row, &label) in rows().take(known) {
            let count = labels[..known].iter().filter(|&&l| l == label).count() as f32;
            let mean = &mut means[usize::from(label)];
            mean.iter_mut()
                .zip(row)
                .for_each(|(mean, x)| *mean += x / count);
        }
        let distance =
            |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum() };
        let right = rows().skip(known).filter(|(row, label)| {
            let near = |&a: &usize, &b: &usize| {
                distance(&means[a], row).total_cmp(&distance(&means[b], row))
            };
            (0..means.len()).min_by(near) == Some(usize::from(**label))
        });
        // By chance it would be 50.
        assert!(right.count() > asked / 2);
    }
}
