//! Gather: a batch of images by index, scaled, and a noisy copy of it, in one pass.
//!
//! ```text
//! clean[r, f] = images[order[position·R + r], f] / 255
//! noisy[r, f] = keep · (warped[r, f] + σ·n)     n ~ N(0, 1), keep = 0 with probability p
//! warped      = clean, each image distorted as [`super::warp`] says, if at all
//!
//! images  [count, F] bytes      the data set, uploaded once
//! order   [any]      indices    this epoch's shuffle
//! clock   [2]        indices    [position in the epoch, step since the beginning]
//! clean   [R, F]
//! noisy   [R, F]
//! ```
//! The noise of element e of the batch at a step is a pure function of (seed, stream, step, e):
//! see [`super::random`].

mod rows;

pub use rows::GatherRows;

use super::parallel::{self, Chunks, chunks_of, each_part};
use super::random::{BLOCK, Streams, key, normals, words};
use super::warp::{Warp, warp};
use super::{Contents, Dispatch, Kernel, linear_groups, shader};
use crate::buffer::{Cost, Matrix, Operand, View};
use crate::image::ImageShape;
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: one pixel, in f64.
pub mod definition {
    /// clean
    pub fn clean(byte: u8) -> f64 {
        f64::from(byte) / 255.0
    }

    /// noisy, of a pixel of the distorted image, a standard normal number n and a random word.
    pub fn noisy(warped: f64, sigma: f64, n: f64, masking: f64, word: u32) -> f64 {
        if f64::from(word) < (masking * 4_294_967_296.0).floor() {
            0.0
        } else {
            warped + sigma * n
        }
    }
}

/// What is done to an image before the encoder sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Distortion of whole images.
    pub warp: Warp,
    /// Standard deviation σ of the Gaussian noise; 0 for none.
    pub gaussian: f32,
    /// Probability p that a pixel is set to 0.
    pub masking: f32,
    /// Key of the generator.
    pub seed: u64,
    /// Training or evaluation draws.
    pub streams: Streams,
}

impl Noise {
    /// A word below this masks its pixel.
    fn mask_below(&self) -> u32 {
        // The cast saturates: p = 1 would still keep one pixel in 2³².
        (f64::from(self.masking) * 4_294_967_296.0) as u32
    }

    fn key(&self) -> [u32; 2] {
        key(self.seed)
    }

    /// Adds it to elements of a batch, whose first is of index `first`, a multiple of [`BLOCK`].
    #[inline(always)]
    fn add_to<T: Scalar>(&self, noisy: &mut [T], first: usize, step: u32) {
        let below = self.mask_below();
        for (block, noisy) in noisy.chunks_mut(BLOCK).enumerate() {
            let (noise, mask) = self.draw(first + block * BLOCK, step);
            for ((noisy, &noise), &mask) in noisy.iter_mut().zip(&noise).zip(&mask) {
                let shaken = *noisy + T::of(f64::from(noise));
                *noisy = if mask < below { T::zero() } else { shaken };
            }
        }
    }

    /// FLOPs for an element, distortion apart: σ·n and its sum; Box–Muller's polynomials, about 25 for a
    /// pair.
    fn flops(&self) -> u64 {
        if self.gaussian > 0.0 { 15 } else { 0 }
    }

    /// What tells the shaders which kinds of noise there are, distortion apart.
    fn constants(&self) -> Vec<(&'static str, String)> {
        vec![
            ("GAUSSIAN", (self.gaussian > 0.0).to_string()),
            ("MASKING", (self.masking > 0.0).to_string()),
        ]
    }

    /// σ·n for [`BLOCK`] elements from `first` on, and the words that say which are masked.
    #[inline(always)]
    fn draw(&self, first: usize, step: u32) -> ([f32; BLOCK], [u32; BLOCK]) {
        let (mut noise, mut mask) = ([0.0; BLOCK], [u32::MAX; BLOCK]);
        if self.gaussian > 0.0 {
            noise = normals(first, step, self.streams.gaussian, self.seed);
            noise.iter_mut().for_each(|n| *n *= self.gaussian);
        }
        if self.masking > 0.0 {
            mask = words(first, step, self.streams.masking, self.seed);
        }
        (noise, mask)
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Gather {
    /// Bytes `[count, F]`.
    pub images: View,
    /// Indices, at least `(position + 1) · R` of them.
    pub order: View,
    /// `[position, step]`.
    pub clock: View,
    /// One image: F values.
    pub image: ImageShape,
    /// `[R, F]`, in [0, 1].
    pub clean: Matrix,
    /// `[R, F]`.
    pub noisy: Matrix,
    /// Kind and amount of noise.
    pub noise: Noise,
}

/// Elements that share one Philox block.
const WORDS: usize = 4;

/// A batch in tasks of whole rows and whole blocks of random numbers. Returns the elements of a task.
fn batch_parts<'a, T>(
    clean: &'a mut [T],
    noisy: &'a mut [T],
    features: usize,
) -> (usize, (Chunks<'a, T>, Chunks<'a, T>)) {
    let rows = (1..=BLOCK).find(|rows| (rows * features).is_multiple_of(BLOCK));
    let size = rows.expect("the last is a multiple") * features;
    (size, (chunks_of(clean, size), chunks_of(noisy, size)))
}

impl Kernel for Gather {
    const NAME: &'static str = "gather";
    const SHADER: &'static str =
        shader!([] "shared/element", "shared/random", "shared/noise", "gather");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("images", self.images),
            Operand::read("order", self.order),
            Operand::read("clock", self.clock),
            Operand::write("clean", self.clean),
            Operand::write("noisy", self.noisy),
        ]
    }

    fn formula(&self) -> String {
        let Noise {
            gaussian, masking, ..
        } = self.noise;
        let mut noise = Vec::new();
        if !self.noise.warp.is_none() {
            noise.push("distorted".to_owned());
        }
        if gaussian > 0.0 {
            noise.push(format!("σ {gaussian}"));
        }
        if masking > 0.0 {
            noise.push(format!("masked {masking}"));
        }
        noise.join(", ")
    }

    fn flops(&self) -> u64 {
        // Scale; noise; a place and four weighted pixels.
        let warp = if self.noise.warp.is_none() { 0 } else { 20 };
        self.clean.view.len as u64 * (1 + self.noise.flops() + warp)
    }

    fn cost(&self) -> Cost {
        let (rows, elements) = (self.clean.rows as u64, self.clean.view.len as u64);
        Cost {
            flops: self.flops(),
            read: elements + 4 * (rows + self.clock.len as u64),
            written: 8 * elements,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let features = self.clean.cols;
        let clock = memory.index.read(self.clock);
        let (position, step) = (clock[0] as usize, clock[1]);
        let batch = &memory.index.read(self.order)[position * self.clean.rows..];
        let images = memory.bytes.read(self.images);
        let ([], [clean, noisy]) = memory.real.access([], [self.clean.view, self.noisy.view]);

        let (ranges, stream) = (&self.noise.warp, self.noise.streams.warp);
        let (size, parts) = batch_parts(clean, noisy, features);
        each_part(&memory.team, parts, |_, index, (clean, noisy)| {
            parallel::simd(
                #[inline(always)]
                || {
                    let first = index * size;
                    let rows = first / features..;
                    let images_of_batch = clean
                        .chunks_exact_mut(features)
                        .zip(noisy.chunks_exact_mut(features));
                    for (row, (clean, noisy)) in rows.zip(images_of_batch) {
                        let pixels = &images[batch[row] as usize * features..][..features];
                        for (clean, &pixel) in clean.iter_mut().zip(pixels) {
                            *clean = T::of(f64::from(f32::from(pixel) / 255.0));
                        }
                        if self.noise.warp.is_none() {
                            noisy.copy_from_slice(clean);
                        } else {
                            let map = ranges.draw(row, step, stream, self.noise.key());
                            warp(&map, self.image, clean, noisy);
                        }
                    }
                    self.noise.add_to(noisy, first, step);
                },
            );
        });
    }

    fn inner_rounding(&self, contents: &mut dyn Contents) -> Vec<(View, Vec<f64>)> {
        let warp = &self.noise.warp;
        if warp.is_none() {
            return Vec::new();
        }
        let step = contents.indices(self.clock)[1];
        let clean = contents.reals(self.clean.view);
        let mut differences = vec![0.0; clean.len()];
        let images = clean.chunks_exact(self.clean.cols);
        let images = images.zip(differences.chunks_exact_mut(self.clean.cols));
        for (row, (clean, differences)) in images.enumerate() {
            let map = warp.draw(row, step, self.noise.streams.warp, self.noise.key());
            warp.differences(&map, self.image, clean, differences);
        }
        vec![(self.noisy.view, differences)]
    }

    fn gpu(&self) -> Dispatch {
        let elements = self.clean.view.len;
        let [key0, key1] = self.noise.key();
        let warp = &self.noise.warp;
        Dispatch {
            constants: [
                self.noise.constants(),
                vec![("WARP", (!self.noise.warp.is_none()).to_string())],
            ]
            .concat(),
            dims: vec![
                self.clean.rows as u32,
                self.clean.cols as u32,
                self.noise.gaussian.to_bits(),
                self.noise.mask_below(),
                key0,
                key1,
                self.noise.streams.gaussian,
                self.noise.streams.masking,
                self.noise.streams.warp,
                self.image.height as u32,
                self.image.width as u32,
                self.image.channels as u32,
                warp.shift.to_bits(),
                warp.rotation.to_bits(),
                warp.scale.to_bits(),
                warp.shear.to_bits(),
            ],
            groups: linear_groups(elements.div_ceil(WORDS)),
        }
    }
}
