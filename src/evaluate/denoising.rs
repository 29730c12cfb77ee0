//! How well noise is removed: PSNR and SSIM of noisy and of restored images.
//!
//! ```text
//! PSNR = 10 log₁₀(1 / MSE)      in dB, for values in [0, 1]; at most 100
//!
//! SSIM = mean over windows of   (2 μ_x μ_y + C₁)(2 σ_xy + C₂)
//!                               ─────────────────────────────────────
//!                               (μ_x² + μ_y² + C₁)(σ_x² + σ_y² + C₂)
//! ```
//! with means, variances and the covariance under a Gaussian window of 11×11 pixels, σ = 1.5, that
//! lies wholly inside the image; C₁ = 0.01², C₂ = 0.03²; the mean over channels in colour. Both are
//! means over images. Noisy images are judged as the network sees them, not clipped to [0, 1].
//!
//! Source: Wang, Bovik, Sheikh and Simoncelli, “Image quality assessment: from error visibility to
//! structural similarity” (IEEE Transactions on Image Processing 13(4), 2004).

use rayon::prelude::*;
use serde::Serialize;

use crate::data::Images;
use crate::image::ImageShape;
use crate::progress::Tick;
use crate::train::{Inference, Restored, TrainError};

use super::{Measurement, Origin};

/// Side of SSIM's window.
const WINDOW: usize = 11;
/// Standard deviation of its weights, in pixels.
const DEVIATION: f64 = 1.5;
/// PSNR where there is no error that f32 would show.
const MOST_DECIBELS: f64 = 100.0;

/// Quality at one level of noise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Denoising {
    /// Standard deviation of the Gaussian noise, for pixels in [0, 1].
    pub sigma: f32,
    /// Images that were judged.
    pub images: usize,
    /// dB
    pub psnr_noisy: f64,
    /// dB
    pub psnr_restored: f64,
    /// dB won by restoring.
    pub psnr_gain: f64,
    /// None where images are smaller than SSIM's window.
    pub ssim_noisy: Option<f64>,
    /// None where images are smaller than SSIM's window.
    pub ssim_restored: Option<f64>,
}

impl Denoising {
    /// Its values, one by one.
    pub fn measurements(&self, origin: &Origin) -> Vec<Measurement> {
        let values = [
            ("noisy", "psnr", Some(self.psnr_noisy)),
            ("restored", "psnr", Some(self.psnr_restored)),
            ("noisy", "ssim", self.ssim_noisy),
            ("restored", "ssim", self.ssim_restored),
        ];
        let measured = values.into_iter().filter_map(|(images, measure, value)| {
            let judge = format!("{measure}-{}", self.sigma);
            Some(origin.measured(images, judge, value?))
        });
        measured.collect()
    }
}

/// Adds the noise of each level to images, removes it again, and judges both.
///
/// `levels` are pairs of a noise known to `inference` and its σ.
///
/// # Errors
///
/// [`TrainError`] if the model does not restore images, images cannot be read, the device fails, or
/// `tick` stops the work.
pub fn denoising(
    inference: &mut Inference,
    levels: &[(usize, f32)],
    images: &Images,
    tick: &mut Tick<'_>,
) -> Result<Vec<Denoising>, TrainError> {
    let shape = images.shape();
    let features = shape.features();
    let mut rows = Vec::with_capacity(levels.len());
    for (index, &(noise, sigma)) in levels.iter().enumerate() {
        let mut sums = [Quality::default(); 2];
        inference.corrupt(noise, images, |first, block| -> Result<(), TrainError> {
            let Restored {
                clean,
                noisy,
                restored,
            } = &block;
            for (sum, seen) in sums.iter_mut().zip([noisy, restored]) {
                let qualities: Vec<Quality> = clean
                    .par_chunks_exact(features)
                    .zip(seen.par_chunks_exact(features))
                    .map(|(clean, seen)| Quality::of(shape, clean, seen))
                    .collect();
                // Added up in order: the same sum for any number of threads.
                qualities.iter().for_each(|quality| sum.add(quality));
            }
            let part = (first + clean.len() / features) as f64 / images.count as f64;
            Ok(tick((index as f64 + part) / levels.len() as f64)?)
        })?;
        let [noisy, restored] = sums.map(|sum| sum.mean(images.count));
        rows.push(Denoising {
            sigma,
            images: images.count,
            psnr_noisy: noisy.psnr,
            psnr_restored: restored.psnr,
            psnr_gain: restored.psnr - noisy.psnr,
            ssim_noisy: noisy.ssim,
            ssim_restored: restored.ssim,
        });
    }
    Ok(rows)
}

/// Both measures of one image, or their sums.
#[derive(Clone, Copy, Debug, Default)]
struct Quality {
    psnr: f64,
    ssim: Option<f64>,
}

impl Quality {
    fn of(shape: ImageShape, clean: &[f32], seen: &[f32]) -> Quality {
        Quality {
            psnr: psnr(clean, seen),
            ssim: ssim(shape, clean, seen),
        }
    }

    fn add(&mut self, other: &Quality) {
        self.psnr += other.psnr;
        self.ssim = other.ssim.map(|ssim| ssim + self.ssim.unwrap_or(0.0));
    }

    fn mean(self, count: usize) -> Quality {
        let count = count as f64;
        Quality {
            psnr: self.psnr / count,
            ssim: self.ssim.map(|ssim| ssim / count),
        }
    }
}

/// Peak signal-to-noise ratio in dB of an image with values in [0, 1] against a clean one.
pub fn psnr(clean: &[f32], seen: &[f32]) -> f64 {
    let squares = clean.iter().zip(seen).map(|(&a, &b)| {
        let difference = f64::from(a) - f64::from(b);
        difference * difference
    });
    let error = squares.sum::<f64>() / clean.len() as f64;
    (-10.0 * error.log10()).min(MOST_DECIBELS)
}

/// Structural similarity of two images with values in [0, 1], channels last; none if they are
/// smaller than the window.
pub fn ssim(shape: ImageShape, x: &[f32], y: &[f32]) -> Option<f64> {
    const C1: f64 = 0.01 * 0.01;
    const C2: f64 = 0.03 * 0.03;
    if shape.height < WINDOW || shape.width < WINDOW {
        return None;
    }
    let weights = weights();
    let channel = |channel: usize| {
        let plane = |image: &[f32]| -> Vec<f64> {
            let values = image.iter().skip(channel).step_by(shape.channels);
            values.map(|&value| f64::from(value)).collect()
        };
        let (x, y) = (plane(x), plane(y));
        let product =
            |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a * b).collect() };
        let planes = [&x, &y, &product(&x, &x), &product(&y, &y), &product(&x, &y)];
        let [x, y, xx, yy, xy] = planes.map(|plane| blur(plane, shape.width, &weights));
        let sum: f64 = (0..x.len())
            .map(|i| {
                let variances = xx[i] - x[i] * x[i] + yy[i] - y[i] * y[i];
                let covariance = xy[i] - x[i] * y[i];
                (2.0 * x[i] * y[i] + C1) * (2.0 * covariance + C2)
                    / ((x[i] * x[i] + y[i] * y[i] + C1) * (variances + C2))
            })
            .sum();
        sum / x.len() as f64
    };
    let sum: f64 = (0..shape.channels).map(channel).sum();
    Some(sum / shape.channels as f64)
}

/// The window's weights in one direction; they sum to 1.
fn weights() -> [f64; WINDOW] {
    let weights: [f64; WINDOW] = std::array::from_fn(|i| {
        let z = (i as f64 - (WINDOW / 2) as f64) / DEVIATION;
        (-0.5 * z * z).exp()
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// Weighted means under every window inside a plane, first along its rows, then down.
fn blur(plane: &[f64], width: usize, weights: &[f64; WINDOW]) -> Vec<f64> {
    let inside = width - WINDOW + 1;
    let rows: Vec<f64> = plane
        .chunks_exact(width)
        .flat_map(|row| {
            row.windows(WINDOW)
                .map(|window| window.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>())
        })
        .collect();
    let windows = plane.len() / width - WINDOW + 1;
    let mut blurred = vec![0.0; windows * inside];
    for (row, blurred) in blurred.chunks_exact_mut(inside).enumerate() {
        for (tap, &weight) in weights.iter().enumerate() {
            let source = &rows[(row + tap) * inside..][..inside];
            for (blurred, &value) in blurred.iter_mut().zip(source) {
                *blurred += weight * value;
            }
        }
    }
    blurred
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images by a formula, which `scikit-image` was given too.
    fn images(shape: ImageShape) -> [Vec<f32>; 2] {
        let value = |i: usize, salt: usize| ((i * 7919 + salt * 104_729) % 257) as f32 / 256.0;
        let clean: Vec<f32> = (0..shape.features()).map(|i| value(i, 1)).collect();
        let seen = clean.iter().enumerate();
        let seen = seen.map(|(i, &x)| x + 0.5 * (value(i, 2) - 0.5)).collect();
        [clean, seen]
    }

    fn shape(height: usize, width: usize, channels: usize) -> ImageShape {
        ImageShape {
            height,
            width,
            channels,
        }
    }

    #[test]
    fn both_measures_are_those_of_scikit_image() {
        // skimage 0.26.0: peak_signal_noise_ratio(clean, seen, data_range=1), and
        // structural_similarity(clean, seen, data_range=1, gaussian_weights=True, sigma=1.5,
        // use_sample_covariance=False, channel_axis=2), on the same numbers in double precision.
        for (shape, decibels, similarity) in [
            (shape(28, 28, 1), 16.768740902819275, 0.8578308797453735),
            (shape(11, 17, 1), 16.7791213405955, 0.8534694610665607),
            (shape(32, 32, 3), 16.77813904467584, 0.8561548107004114),
            (shape(13, 40, 3), 16.77285718522895, 0.8572600086284284),
        ] {
            let [clean, seen] = images(shape);
            assert!((psnr(&clean, &seen) - decibels).abs() < 1e-9, "{shape}");
            let got = ssim(shape, &clean, &seen).expect("large enough");
            assert!(
                (got - similarity).abs() < 1e-9,
                "{shape}: {got} against {similarity}"
            );
        }
    }

    #[test]
    fn an_image_is_like_itself() {
        let [clean, _] = images(shape(12, 11, 1));
        assert_eq!(psnr(&clean, &clean), MOST_DECIBELS);
        let similarity = ssim(shape(12, 11, 1), &clean, &clean).expect("large enough");
        assert!((similarity - 1.0).abs() < 1e-12);
    }

    #[test]
    fn an_image_smaller_than_the_window_has_no_similarity() {
        let [clean, seen] = images(shape(10, 28, 1));
        assert_eq!(ssim(shape(10, 28, 1), &clean, &seen), None);
    }
}
