//! Convolution, pooling and upsampling.

use proptest::prelude::*;

use super::bench::{Bench, uniform};
use super::exact::{exact, sum};
use super::shapes::{activation, enlarged, geometry, pooling};
use super::{emit, for_all, oracle};

#[test]
fn a_window_fits_as_often_as_its_last_tap_stays_over_the_padded_image() {
    for_all(2048, geometry(), |(geometry, _)| {
        prop_assert_eq!(geometry.window.map(), oracle::places(&geometry.window));
        Ok(())
    });
}

#[test]
fn convolution_is_the_sum_over_taps_and_channels() {
    let cases = (geometry(), activation(), any::<bool>());
    for_all(512, cases, |((geometry, seed), activation, biased)| {
        let x = uniform(geometry.rows()[0] * geometry.channels, seed);
        let weight = uniform(emit::weight_len(&geometry), seed + 1);
        let bias = biased.then(|| uniform(geometry.maps, seed + 2));
        let sums = oracle::convolution(&geometry, &x, &weight);
        let expected = oracle::epilogue(&sums, bias.as_deref(), activation);

        let mut bench = Bench::new();
        let (x, weight) = (bench.given(&x), bench.given(&weight));
        let epilogue = (bias.map(|bias| bench.given(&bias)), activation);
        let y = emit::convolve(&mut bench, &geometry, x, weight, epilogue);
        bench.check(&[("y", y, &expected)])
    });
}

#[test]
fn the_data_gradient_is_the_derivative_by_the_image_with_an_epilogue_as_transposed_convolution() {
    let cases = (geometry(), activation(), any::<bool>());
    for_all(512, cases, |((geometry, seed), activation, biased)| {
        let dy = uniform(geometry.rows()[1] * geometry.maps, seed);
        let weight = uniform(emit::weight_len(&geometry), seed + 1);
        let bias = biased.then(|| uniform(geometry.channels, seed + 2));
        let sums = oracle::data_gradient(&geometry, &dy, &weight);
        let expected = oracle::epilogue(&sums, bias.as_deref(), activation);

        let mut bench = Bench::new();
        let (dy, weight) = (bench.given(&dy), bench.given(&weight));
        let epilogue = (bias.map(|bias| bench.given(&bias)), activation);
        let dx = emit::data_gradient(&mut bench, &geometry, dy, weight, epilogue);
        bench.check(&[("dx", dx, &expected)])
    });
}

#[test]
fn the_weight_gradient_is_the_derivative_by_the_weight() {
    for_all(512, geometry(), |(geometry, seed)| {
        let x = uniform(geometry.rows()[0] * geometry.channels, seed);
        let dy = uniform(geometry.rows()[1] * geometry.maps, seed + 1);
        let expected = oracle::weight_gradient(&geometry, &x, &dy);

        let mut bench = Bench::new();
        let (x, dy) = (bench.given(&x), bench.given(&dy));
        let d_weight = emit::weight_gradient(&mut bench, &geometry, x, dy);
        bench.check(&[("d_weight", d_weight, &expected)])
    });
}

#[test]
fn max_pool_takes_the_first_of_the_largest_and_sends_its_gradient_there() {
    for_all(
        512,
        (pooling(), any::<bool>()),
        |((geometry, seed), ties)| {
            let mut x = uniform(geometry.rows()[0] * geometry.channels, seed);
            if ties {
                x.iter_mut().for_each(|x| *x = (*x * 2.0).round());
            }
            let dy = uniform(geometry.rows()[1] * geometry.channels, seed + 1);
            let (maxima, taps) = oracle::max_pool(&geometry, &x);
            let gradient = oracle::max_pool_backward(&geometry, &taps, &dy);

            let mut bench = Bench::new();
            let (x, dy) = (bench.given(&x), bench.given(&dy));
            let [y, argmax] = emit::max_pool(&mut bench, &geometry, x);
            let dx = emit::max_pool_backward(&mut bench, &geometry, argmax, dy);
            bench.check(&[("y", y, &maxima), ("dx", dx, &gradient)])?;
            bench.check_indices("argmax", argmax, &taps)
        },
    );
}

#[test]
fn average_pool_is_the_mean_with_zeros_for_padding_and_spreads_its_gradient_evenly() {
    for_all(512, pooling(), |(geometry, seed)| {
        let x = uniform(geometry.rows()[0] * geometry.channels, seed);
        let dy = uniform(geometry.rows()[1] * geometry.channels, seed + 1);
        let means = oracle::average(&geometry, &x, false);
        let gradient = oracle::average(&geometry, &dy, true);

        let mut bench = Bench::new();
        let (x, dy) = (bench.given(&x), bench.given(&dy));
        let y = emit::average_pool(&mut bench, &geometry, x);
        let dx = emit::average_pool_backward(&mut bench, &geometry, dy);
        bench.check(&[("y", y, &means), ("dx", dx, &gradient)])
    });
}

#[test]
fn upsampling_repeats_each_pixel_and_adds_up_its_block_of_gradients() {
    for_all(512, enlarged(), |case| {
        let (enlargement, channels) = (case.enlargement, case.channels);
        let sources = oracle::sources(case.images, &enlargement);
        let small = case.images * enlargement.size[0] * enlargement.size[1];
        let x = uniform(small * channels, case.seed);
        let dy = uniform(sources.len() * channels, case.seed + 1);
        let larger =
            (0..dy.len()).map(|at| exact(x[sources[at / channels] * channels + at % channels]));
        let larger: Vec<_> = larger.collect();
        let block = |source, c| {
            let places = (0..sources.len()).filter(|&place| sources[place] == source);
            sum(places
                .map(|place| exact(dy[place * channels + c]))
                .collect::<Vec<_>>())
        };
        let smaller: Vec<_> = (0..x.len())
            .map(|at| block(at / channels, at % channels))
            .collect();

        let mut bench = Bench::new();
        let (x, dy) = (bench.given(&x), bench.given(&dy));
        let y = emit::upsample(&mut bench, enlargement, channels, x);
        let dx = emit::upsample_backward(&mut bench, enlargement, channels, dy);
        bench.check(&[("y", y, &larger), ("dx", dx, &smaller)])
    });
}
