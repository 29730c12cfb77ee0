//! Gather: a batch of images by index, scaled, and a noisy copy of it, in one pass.
//!
//! ```text
//! clean[r, f] = images[order[position·R + r], f] / 255
//! noisy[r, f] = keep · (clean[r, f] + σ·n)      n ~ N(0, 1), keep = 0 with probability p
//!
//! images  [count, F] bytes      the data set, uploaded once
//! order   [any]      indices    this epoch's shuffle
//! clock   [2]        indices    [position in the epoch, step since the beginning]
//! clean   [R, F]
//! noisy   [R, F]
//! ```
//! The noise of element e of the batch at a step is a pure function of (seed, stream, step, e):
//! see [`super::random`].

use super::random::{LANES, Stream, normal_pair, philox};
use super::{Dispatch, Kernel, linear_groups, parallel, shader};
use crate::device::cpu::Memory;
use crate::plan::{Cost, Matrix, Operand, View};
use crate::scalar::Scalar;

/// What is done to an image before the encoder sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Standard deviation σ of the Gaussian noise; 0 for none.
    pub gaussian: f32,
    /// Probability p that a pixel is set to 0.
    pub masking: f32,
    /// Key of the generator.
    pub seed: u64,
    /// Training or evaluation draws.
    pub stream: Stream,
}

impl Noise {
    /// A word below this masks its pixel.
    fn mask_below(&self) -> u32 {
        // The cast saturates: p = 1 would still keep one pixel in 2³².
        (f64::from(self.masking) * 4_294_967_296.0) as u32
    }

    fn key(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
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
    /// `[R, F]`, in [0, 1].
    pub clean: Matrix,
    /// `[R, F]`.
    pub noisy: Matrix,
    /// Kind and amount of noise.
    pub noise: Noise,
}

/// Elements that share one Philox block.
const WORDS: usize = 4;

impl Kernel for Gather {
    const NAME: &'static str = "gather";
    const SHADER: &'static str = shader!("gather");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("images", self.images),
            Operand::read("order", self.order),
            Operand::read("clock", self.clock),
            Operand::write("clean", self.clean.view),
            Operand::write("noisy", self.noisy.view),
        ]
    }

    fn flops(&self) -> u64 {
        // Scale; σ·n and its sum; Box–Muller's polynomials, about 25 for a pair.
        let per_element = 1 + if self.noise.gaussian > 0.0 { 15 } else { 0 };
        (self.clean.view.len * per_element) as u64
    }

    fn cost(&self) -> Cost {
        let (rows, elements) = (self.clean.rows as u64, self.clean.view.len as u64);
        Cost {
            flops: self.flops(),
            read: elements + 4 * rows,
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

        parallel::chunks(clean, features, |first, clean| {
            let rows = &batch[first / features..];
            for (clean, &image) in clean.chunks_exact_mut(features).zip(rows) {
                let pixels = &images[image as usize * features..][..features];
                for (clean, &pixel) in clean.iter_mut().zip(pixels) {
                    *clean = T::of(f64::from(f32::from(pixel) / 255.0));
                }
            }
        });
        let clean = &*clean;
        parallel::chunks(noisy, WORDS * LANES, |first, noisy| {
            let blocks = noisy.chunks_mut(WORDS * LANES);
            let clean = clean[first..].chunks(WORDS * LANES);
            for (block, (noisy, clean)) in blocks.zip(clean).enumerate() {
                let counter = (first / WORDS + block * LANES) as u32;
                let mut noise = [0.0; WORDS * LANES];
                let mut keep = [true; WORDS * LANES];
                parallel::simd(
                    #[inline(always)]
                    || self.noise.draw(counter, step, &mut noise, &mut keep),
                );
                for (i, (noisy, &clean)) in noisy.iter_mut().zip(clean).enumerate() {
                    let shaken = clean + T::of(f64::from(noise[i]));
                    *noisy = if keep[i] { shaken } else { T::zero() };
                }
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        let elements = self.clean.view.len;
        let [key0, key1] = self.noise.key();
        Dispatch {
            constants: vec![
                ("GAUSSIAN", (self.noise.gaussian > 0.0).to_string()),
                ("MASKING", (self.noise.masking > 0.0).to_string()),
            ],
            dims: vec![
                self.clean.rows as u32,
                self.clean.cols as u32,
                self.noise.gaussian.to_bits(),
                self.noise.mask_below(),
                key0,
                key1,
                self.noise.stream.gaussian(),
                self.noise.stream.masking(),
            ],
            groups: linear_groups(elements.div_ceil(WORDS)),
        }
    }
}

impl Noise {
    /// σ·n and keep for the elements of [`LANES`] Philox blocks from `counter` on.
    #[inline(always)]
    fn draw(
        &self,
        counter: u32,
        step: u32,
        noise: &mut [f32; WORDS * LANES],
        keep: &mut [bool; WORDS * LANES],
    ) {
        if self.gaussian > 0.0 {
            let words = philox(counter, step, self.stream.gaussian(), self.key());
            let mut normals = [[0.0; LANES]; WORDS];
            for lane in 0..LANES {
                let [z0, z1] = normal_pair(words[0][lane], words[1][lane]);
                let [z2, z3] = normal_pair(words[2][lane], words[3][lane]);
                for (row, z) in normals.iter_mut().zip([z0, z1, z2, z3]) {
                    row[lane] = self.gaussian * z;
                }
            }
            for (i, noise) in noise.iter_mut().enumerate() {
                *noise = normals[i % WORDS][i / WORDS];
            }
        }
        if self.masking > 0.0 {
            let words = philox(counter, step, self.stream.masking(), self.key());
            for (i, keep) in keep.iter_mut().enumerate() {
                *keep = words[i % WORDS][i / WORDS] >= self.mask_below();
            }
        }
    }
}
