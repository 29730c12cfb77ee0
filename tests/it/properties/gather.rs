//! The batch, its noise and its masks.

use diabolo::device::Device;
use diabolo::image::ImageShape;
use diabolo::kernels::gather::{Gather, Noise};
use diabolo::kernels::random::Streams;
use diabolo::kernels::warp::Warp;
use proptest::prelude::*;
use proptest::sample::select;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bench::{Bench, SINGLE, compare};
use super::exact::{Exact, exact};
use super::for_all;
use super::shapes::side;

/// Images there are.
const COUNT: usize = 17;
/// Batches of an epoch.
const BATCHES: usize = 3;

#[derive(Clone, Copy, Debug)]
struct Batch {
    rows: usize,
    size: [usize; 3],
    position: usize,
    step: u32,
    seed: u64,
    streams: Streams,
}

fn batch(
    rows: impl Strategy<Value = usize>,
    width: impl Strategy<Value = usize>,
) -> impl Strategy<Value = Batch> {
    let streams = select(vec![Streams::TRAINING, Streams::EVALUATION]);
    let size = (1..=4usize, width, 1..=3usize);
    let clock = (0..BATCHES, any::<u32>());
    (rows, size, clock, any::<u64>(), streams).prop_map(
        |(rows, (height, width, channels), (position, step), seed, streams)| Batch {
            rows,
            size: [height, width, channels],
            position,
            step,
            seed,
            streams,
        },
    )
}

/// What a launch is to give, and what it gives.
struct Batched {
    expected: Vec<Exact>,
    clean: Vec<f32>,
    noisy: Vec<f32>,
}

impl Batch {
    fn elements(&self) -> usize {
        self.rows * self.size.iter().product::<usize>()
    }

    fn noise(&self, gaussian: f32, masking: f32) -> Noise {
        Noise {
            warp: Warp::default(),
            gaussian,
            masking,
            seed: self.seed,
            streams: self.streams,
        }
    }

    /// Pixels and their order depend on the number of rows and the size alone.
    fn gather(&self, noise: Noise) -> Batched {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let [height, width, channels] = self.size;
        let image = ImageShape {
            height,
            width,
            channels,
        };
        let features = height * width * channels;
        let pixels: Vec<u8> = (0..COUNT * features).map(|_| rng.random()).collect();
        let order = (0..BATCHES * self.rows).map(|_| rng.random_range(0..COUNT as u32));
        let order: Vec<u32> = order.collect();
        let pixel = |row: usize, feature: usize| {
            let image = order[self.position * self.rows + row] as usize;
            exact(f64::from(pixels[image * features + feature])) / exact(255.0)
        };
        let expected = (0..self.elements()).map(|at| pixel(at / features, at % features));

        let mut bench = Bench::new();
        let [clean, noisy] =
            [0, 1].map(|_| bench.output(self.elements()).matrix(self.rows, features));
        let kernel = Gather {
            images: bench.bytes(&pixels),
            order: bench.indices(&order),
            clock: bench.indices(&[self.position as u32, self.step]),
            image,
            clean,
            noisy,
            noise,
        };
        bench.launch(kernel);
        let mut device = bench.run::<f32>();
        Batched {
            expected: expected.collect(),
            clean: device.read_real(clean.view).expect("readable"),
            noisy: device.read_real(noisy.view).expect("readable"),
        }
    }
}

#[test]
fn a_batch_is_the_pixels_in_order_over_255_and_without_noise_the_noisy_copy_is_the_clean_one() {
    for_all(512, batch(side(), 1..=9usize), |batch| {
        let Batched {
            expected,
            clean,
            noisy,
        } = batch.gather(batch.noise(0.0, 0.0));
        compare("clean", &clean, &expected, SINGLE)?;
        prop_assert_eq!(noisy, clean);
        Ok(())
    });
}

/// At least some thousand elements, for statistics.
fn large() -> impl Strategy<Value = Batch> {
    batch(select(vec![127, 129, 200]), select(vec![31, 33]))
}

/// Standard errors that a statistic may be off by: one in two million is.
const FIVE: f64 = 5.0;

#[test]
fn gaussian_noise_has_mean_zero_and_the_stated_deviation() {
    for_all(
        64,
        (large(), select(vec![0.1f32, 0.5, 2.0])),
        |(batch, sigma)| {
            let Batched { clean, noisy, .. } = batch.gather(batch.noise(sigma, 0.0));
            let noise = noisy
                .iter()
                .zip(&clean)
                .map(|(&noisy, &clean)| f64::from(noisy) - f64::from(clean));
            let noise: Vec<f64> = noise.collect();
            let (n, sigma) = (noise.len() as f64, f64::from(sigma));
            let mean = noise.iter().sum::<f64>() / n;
            let variance = noise.iter().map(|z| z * z).sum::<f64>() / n;
            // Var z = σ², Var z² = 2σ⁴. Rounding to f32 is far below either.
            prop_assert!(mean.abs() <= FIVE * sigma / n.sqrt(), "mean {mean}");
            let relative = variance / (sigma * sigma) - 1.0;
            prop_assert!(
                relative.abs() <= FIVE * (2.0 / n).sqrt(),
                "variance off by {relative}"
            );
            // A neighbour says nothing of a neighbour: the products have mean 0 and deviation σ².
            for lag in [1, 2, 4] {
                let products = noise.iter().zip(&noise[lag..]).map(|(a, b)| a * b);
                let covariance = products.sum::<f64>() / n;
                let allowed = FIVE * sigma * sigma / n.sqrt();
                prop_assert!(
                    covariance.abs() <= allowed,
                    "covariance {covariance} at {lag}"
                );
            }
            Ok(())
        },
    );
}

#[test]
fn masking_drops_the_stated_part_and_leaves_the_rest() {
    let share = select(vec![0.0f32, 0.1, 0.5, 0.9]);
    for_all(64, (large(), share), |(batch, share)| {
        let sigma = 0.5;
        let masked = batch.gather(batch.noise(sigma, share)).noisy;
        let unmasked = batch.gather(batch.noise(sigma, 0.0)).noisy;
        // With Gaussian noise only a mask gives a zero, but for one in many millions.
        let dropped = masked.iter().filter(|&&x| x == 0.0).count() as f64;
        let (n, p) = (masked.len() as f64, f64::from(share));
        let allowed = FIVE * (n * p * (1.0 - p)).sqrt();
        prop_assert!((dropped - n * p).abs() <= allowed, "{dropped} of {n}");
        let mut kept = masked.iter().zip(&unmasked).filter(|(x, _)| **x != 0.0);
        prop_assert!(kept.all(|(masked, unmasked)| masked == unmasked));
        Ok(())
    });
}

#[test]
fn noise_is_a_function_of_seed_stream_and_step() {
    for_all(64, large(), |batch| {
        let draw = |batch: Batch| batch.gather(batch.noise(0.5, 0.3)).noisy;
        let first = draw(batch);
        prop_assert!(first == draw(batch), "drawn again, it differs");
        let streams = if batch.streams == Streams::TRAINING {
            Streams::EVALUATION
        } else {
            Streams::TRAINING
        };
        let (step, seed) = (batch.step ^ 1, batch.seed ^ (1 << 40));
        for other in [
            Batch { step, ..batch },
            Batch { seed, ..batch },
            Batch { streams, ..batch },
        ] {
            let pairs = first.iter().zip(draw(other));
            // Zeros coincide where both are masked: in 0.3² of all places.
            let same = pairs.filter(|(a, b)| **a == *b).count();
            prop_assert!(
                same < first.len() / 5,
                "{same} of {} are the same",
                first.len()
            );
        }
        Ok(())
    });
}
