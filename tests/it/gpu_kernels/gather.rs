//! Batches of images: their noise, their masks and their distortion.

use diabolo::buffer::Element;
use diabolo::image::ImageShape;
use diabolo::kernels::gather::{Gather, GatherRows, Noise, definition};
use diabolo::kernels::random::{BLOCK, Streams, key, normals, words};
use diabolo::kernels::warp::{self, Warp, uniforms};
use rand::RngExt;

use super::EPSILON;
use super::harness::{Case, gpu};

/// Steps since training began.
const STEP: u32 = 1234;

/// The noisy copy of a clean batch.
fn noisy_by_definition(clean: &[f64], sides: [usize; 3], noise: Noise) -> Vec<f64> {
    let [_, width, channels] = sides;
    let features = sides.iter().product();
    let mut noisy = Vec::new();
    for (row, image) in clean.chunks(features).enumerate() {
        let drawn = uniforms(row, STEP, noise.streams.warp, key(noise.seed));
        let map = warp::definition::map(&noise.warp, drawn.map(f64::from));
        for place in 0..features {
            let (pixel, c) = (place / channels, place % channels);
            let at = [pixel / width, pixel % width, c];
            let warped = match noise.warp.is_none() {
                true => image[place],
                false => warp::definition::warped(image, sides, map, at),
            };
            let element = row * features + place;
            let (first, lane) = (element / BLOCK * BLOCK, element % BLOCK);
            let n = normals(first, STEP, noise.streams.gaussian, noise.seed)[lane];
            let word = words(first, STEP, noise.streams.masking, noise.seed)[lane];
            // The product is rounded in f32, as the generator's numbers are.
            let gaussian = f64::from(noise.gaussian * n);
            let masking = f64::from(noise.masking);
            noisy.push(definition::noisy(warped, 1.0, gaussian, masking, word));
        }
    }
    noisy
}

pub fn gather_draws_the_same_noise_and_the_same_masks() {
    let Some(adapter) = gpu() else { return };
    let distorted = Warp {
        shift: 2.5,
        rotation: 0.07,
        scale: 0.2,
        shear: 0.3,
    };
    for (rows, [height, width, channels]) in [
        (1, [1, 1, 1]),
        (3, [31, 1, 1]),
        (33, [3, 11, 1]),
        (5, [9, 5, 3]),
        (129, [28, 28, 1]),
    ] {
        let image = ImageShape {
            height,
            width,
            channels,
        };
        let features = image.features();
        for (gaussian, masking, warp) in [
            (0.0, 0.0, Warp::default()),
            (0.5, 0.0, Warp::default()),
            (0.0, 0.3, Warp::default()),
            (0.5, 0.3, Warp::default()),
            (0.0, 0.0, distorted),
            (0.5, 0.3, distorted),
        ] {
            let mut test = Case::new(rows);
            let count = 40;
            let pixels: Vec<u8> = (0..count * features).map(|_| test.rng.random()).collect();
            let images = test.plan.persistent("images", Element::Byte, pixels.len());
            test.bytes.push((images, pixels.clone()));
            let order = (0..3 * rows).map(|_| test.rng.random_range(0..count as u32));
            let order: Vec<u32> = order.collect();
            let kernel = Gather {
                images,
                order: test.index("order", order.clone()),
                clock: test.index("clock", vec![2, STEP]),
                image,
                clean: test.output("clean", rows * features).matrix(rows, features),
                noisy: test.output("noisy", rows * features).matrix(rows, features),
                noise: Noise {
                    warp,
                    gaussian,
                    masking,
                    seed: 0x0123_4567_89AB_CDEF,
                    streams: Streams::TRAINING,
                },
            };
            // A division to 2.5 ulps; a normal deviate, below 6, from polynomials good to some
            // ten roundings. A pixel masked on one device only would be off by its value. A place in a
            // distorted image is the sum of four numbers below twice its side, good to a dozen
            // roundings; between neighbours, which differ by at most 1, a value moves as much as its
            // place does, in either direction.
            let place = 2.0 * 12.0 * 2.0 * height.max(width) as f64 * EPSILON;
            let place = if warp.is_none() { 0.0 } else { place };
            let (clean, noisy) = (kernel.clean.view, kernel.noisy.view);
            let noise = kernel.noise;
            let ready = test.finish(kernel);
            ready.compare(&adapter, |operand, _, expected| match operand {
                "clean" => 5.0 * EPSILON * expected.abs(),
                _ => 5.0 * EPSILON + place + f64::from(gaussian) * 6.0 * 24.0 * EPSILON,
            });
            let batch = order[2 * rows..].iter();
            let bytes = batch.flat_map(|&i| &pixels[i as usize * features..][..features]);
            let expected: Vec<f64> = bytes.map(|&byte| definition::clean(byte)).collect();
            // Pixels, the generator and the coordinates are f32's on every device.
            ready.defined_within(clean, &expected, |value| EPSILON * value);
            let sides = [height, width, channels];
            let expected = noisy_by_definition(&expected, sides, noise);
            ready.defined_within(noisy, &expected, |value| {
                place + EPSILON * (1.0 + value.abs())
            });
        }
    }
}

pub fn rows_of_reals_are_gathered_with_the_same_noise() {
    let Some(adapter) = gpu() else { return };
    for (rows, cols) in [(1, 1), (3, 31), (33, 33), (129, 20)] {
        for (gaussian, masking) in [(0.0, 0.0), (0.5, 0.0), (0.0, 0.3), (0.5, 0.3)] {
            let mut test = Case::new(rows * cols);
            let count = 40;
            let order = (0..3 * rows).map(|_| test.rng.random_range(0..count as u32));
            let order: Vec<u32> = order.collect();
            let kernel = GatherRows {
                values: test.real("values", count * cols).matrix(count, cols),
                order: test.index("order", order.clone()),
                clock: test.index("clock", vec![2, STEP]),
                clean: test.output("clean", rows * cols).matrix(rows, cols),
                noisy: test.output("noisy", rows * cols).matrix(rows, cols),
                noise: Noise {
                    warp: Warp::default(),
                    gaussian,
                    masking,
                    seed: 0x0123_4567_89AB_CDEF,
                    streams: Streams::TRAINING,
                },
            };
            let (values, noise) = (kernel.values.view, kernel.noise);
            let (clean, noisy) = (kernel.clean.view, kernel.noisy.view);
            let ready = test.finish(kernel);
            // A normal deviate as for images; the rest is copied.
            ready.compare(&adapter, |operand, _, expected| match operand {
                "clean" => 0.0,
                _ => f64::from(gaussian) * 6.0 * 24.0 * EPSILON + EPSILON * expected.abs(),
            });
            let values = ready.given(values);
            let batch = order[2 * rows..].iter();
            let batch = batch.flat_map(|&i| &values[i as usize * cols..][..cols]);
            let expected: Vec<f64> = batch.copied().collect();
            ready.defined(clean, &expected);
            let expected = noisy_by_definition(&expected, [1, cols, 1], noise);
            ready.defined(noisy, &expected);
        }
    }
}
