//! Linear kernels are linear: A(ax + by) = a·Ax + b·Ay. Backward is forward's adjoint:
//! ⟨A x, y⟩ = ⟨x, Aᵀ y⟩; so transposed convolution is the adjoint of convolution. All in f64.

use diabolo::gradcheck::Geometry;
use diabolo::kernels::Activation;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::batch_norm::batch;
use super::bench::{Bench, DOUBLE, compare, uniform};
use super::emit::{self, PLAIN};
use super::exact::Exact;
use super::for_all;
use super::shapes::{activation, enlarged, geometry, pooling, shape, side};

/// A linear map of vectors. The flag asks for the bound of its terms instead: the map with absolute
/// values for weights.
type Map<'a> = &'a dyn Fn(&[f64], bool) -> Vec<f64>;

fn absolute(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.abs()).collect()
}

fn weights(weight: &[f64], bound: bool) -> Vec<f64> {
    if bound {
        absolute(weight)
    } else {
        weight.to_vec()
    }
}

/// a·x + b·y
fn combine([a, b]: [f64; 2], x: &[f64], y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| a * x + b * y).collect()
}

/// Of a map on vectors of `len` elements, each of whose results is a sum of `terms` products.
fn check_linearity(map: Map, len: usize, terms: usize, seed: u64) -> TestCaseResult {
    let [x, y] = [0, 1].map(|stream| uniform(len, 7 * seed + stream));
    let factors = [0.75, -1.3];
    let together = map(&combine(factors, &x, &y), false);
    let apart = combine(factors, &map(&x, false), &map(&y, false));
    let sizes = map(
        &combine(factors.map(f64::abs), &absolute(&x), &absolute(&y)),
        true,
    );
    // Either side is a sum of so many terms, and combines twice two numbers.
    let slack = 8.0 * (terms as f64).sqrt() + 6.0;
    let pairs = apart.into_iter().zip(sizes);
    let expected: Vec<_> = pairs
        .map(|(value, size)| Exact {
            value,
            slack: slack * size,
        })
        .collect();
    compare("A(ax + by)", &together, &expected, DOUBLE)
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Holds ⟨a, b⟩ against ⟨c, d⟩, whose terms' absolute values add up to `size`; elements are sums of
/// `terms` products.
fn check_equal(
    [a, b]: [&[f64]; 2],
    [c, d]: [&[f64]; 2],
    terms: usize,
    size: f64,
) -> TestCaseResult {
    let (one, other) = (inner(a, b), inner(c, d));
    let roots = (terms as f64).sqrt() + (a.len().max(c.len()) as f64).sqrt();
    let allowed = 8.0 * roots * DOUBLE * size;
    prop_assert!(
        (one - other).abs() <= allowed,
        "{one} and {other}, allowed {allowed:e}"
    );
    Ok(())
}

/// Both are linear, and each is the other's adjoint.
fn check_adjoints(
    [map, adjoint]: [Map; 2],
    [inputs, outputs]: [usize; 2],
    terms: usize,
    seed: u64,
) -> TestCaseResult {
    check_linearity(map, inputs, terms, seed)?;
    check_linearity(adjoint, outputs, terms, seed)?;
    let (x, y) = (uniform(inputs, seed), uniform(outputs, seed + 1));
    let size = inner(&map(&absolute(&x), true), &absolute(&y));
    check_equal(
        [&map(&x, false), &y],
        [&x, &adjoint(&y, false)],
        terms,
        size,
    )
}

fn convolve(geometry: &Geometry, x: &[f64], weight: &[f64]) -> Vec<f64> {
    let mut bench = Bench::new();
    let (x, weight) = (bench.given(x), bench.given(weight));
    let y = emit::convolve(&mut bench, geometry, x, weight, PLAIN);
    bench.values(y)
}

#[test]
fn transposed_convolution_is_the_adjoint_of_convolution() {
    for_all(512, geometry(), |(geometry, seed)| {
        let weight = uniform(emit::weight_len(&geometry), seed + 2);
        let forward = |x: &[f64], bound: bool| convolve(&geometry, x, &weights(&weight, bound));
        let backward = |dy: &[f64], bound: bool| {
            let mut bench = Bench::new();
            let (dy, weight) = (bench.given(dy), bench.given(&weights(&weight, bound)));
            let dx = emit::data_gradient(&mut bench, &geometry, dy, weight, PLAIN);
            bench.values(dx)
        };
        let [large, small] = geometry.rows();
        let sides = [large * geometry.channels, small * geometry.maps];
        let terms = geometry.window.taps() * geometry.channels.max(geometry.maps);
        check_adjoints([&forward, &backward], sides, terms, seed)
    });
}

#[test]
fn the_weight_gradient_is_bilinear_and_pairs_with_the_weight_as_the_result_does_with_its_gradient()
{
    for_all(512, geometry(), |(geometry, seed)| {
        let [large, small] = geometry.rows();
        let sides = [large * geometry.channels, small * geometry.maps];
        let [x, dy] = [0, 1].map(|side| uniform(sides[side], seed + side as u64));
        let weight = uniform(emit::weight_len(&geometry), seed + 2);
        let gradient = |x: &[f64], dy: &[f64]| {
            let mut bench = Bench::new();
            let (x, dy) = (bench.given(x), bench.given(dy));
            let d_weight = emit::weight_gradient(&mut bench, &geometry, x, dy);
            bench.values(d_weight)
        };
        let in_x = |x: &[f64], bound: bool| gradient(x, &weights(&dy, bound));
        let in_dy = |dy: &[f64], bound: bool| gradient(&weights(&x, bound), dy);
        check_linearity(&in_x, sides[0], small, seed)?;
        check_linearity(&in_dy, sides[1], small, seed)?;

        let y = convolve(&geometry, &x, &weight);
        let bound = convolve(&geometry, &absolute(&x), &absolute(&weight));
        let size = inner(&bound, &absolute(&dy));
        let terms = small + geometry.window.taps() * geometry.channels;
        check_equal([&gradient(&x, &dy), &weight], [&dy, &y], terms, size)
    });
}

#[test]
fn a_dense_layer_s_data_gradient_is_its_adjoint() {
    for_all(512, (side(), shape()), |(samples, shape)| {
        let (inputs, outputs) = (shape.rows, shape.cols);
        let weight = uniform(shape.len(), shape.seed + 2);
        let product = |dims: [usize; 3], x: &[f64], transposed: bool, bound: bool| {
            let mut bench = Bench::new();
            let (x, weight) = (bench.given(x), bench.given(&weights(&weight, bound)));
            let y = emit::gemm(&mut bench, dims, (x, false), (weight, transposed), PLAIN);
            bench.values(y)
        };
        let forward = |x: &[f64], bound: bool| product([samples, inputs, outputs], x, false, bound);
        let backward =
            |dy: &[f64], bound: bool| product([samples, outputs, inputs], dy, true, bound);
        let sides = [samples * inputs, samples * outputs];
        check_adjoints(
            [&forward, &backward],
            sides,
            inputs.max(outputs),
            shape.seed,
        )
    });
}

#[test]
fn average_pool_s_backward_is_its_adjoint() {
    for_all(512, pooling(), |(geometry, seed)| {
        let forward = |x: &[f64], _: bool| {
            let mut bench = Bench::new();
            let x = bench.given(x);
            let y = emit::average_pool(&mut bench, &geometry, x);
            bench.values(y)
        };
        let backward = |dy: &[f64], _: bool| {
            let mut bench = Bench::new();
            let dy = bench.given(dy);
            let dx = emit::average_pool_backward(&mut bench, &geometry, dy);
            bench.values(dx)
        };
        let sides = geometry.rows().map(|rows| rows * geometry.channels);
        check_adjoints([&forward, &backward], sides, geometry.window.taps(), seed)
    });
}

#[test]
fn upsampling_s_backward_is_its_adjoint() {
    for_all(512, enlarged(), |case| {
        let (enlargement, channels) = (case.enlargement, case.channels);
        let forward = |x: &[f64], _: bool| {
            let mut bench = Bench::new();
            let x = bench.given(x);
            let y = emit::upsample(&mut bench, enlargement, channels, x);
            bench.values(y)
        };
        let backward = |dy: &[f64], _: bool| {
            let mut bench = Bench::new();
            let dy = bench.given(dy);
            let dx = emit::upsample_backward(&mut bench, enlargement, channels, dy);
            bench.values(dx)
        };
        let [small, large] = [enlargement.size, enlargement.enlarged()]
            .map(|[height, width]| case.images * height * width * channels);
        let block = large / small;
        check_adjoints([&forward, &backward], [small, large], block, case.seed)
    });
}

#[test]
fn the_adjoint_of_a_column_sum_repeats_its_row() {
    for_all(512, shape(), |shape| {
        let forward = |x: &[f64], _: bool| {
            let mut bench = Bench::new();
            let x = bench.given(x).matrix(shape.rows, shape.cols);
            let sum = emit::column_sum(&mut bench, x);
            bench.values(sum)
        };
        let repeat = |row: &[f64], _: bool| row.repeat(shape.rows);
        let sides = [shape.len(), shape.cols];
        check_adjoints([&forward, &repeat], sides, shape.rows, shape.seed)
    });
}

#[test]
fn max_pool_s_gradient_is_linear_and_pairs_with_the_image_as_the_maxima_do_with_theirs() {
    for_all(512, pooling(), |(geometry, seed)| {
        let [large, small] = geometry.rows().map(|rows| rows * geometry.channels);
        let (x, dy) = (uniform(large, seed), uniform(small, seed + 1));
        let both = |dy: &[f64]| {
            let mut bench = Bench::new();
            let (x, dy) = (bench.given(&x), bench.given(dy));
            let [y, argmax] = emit::max_pool(&mut bench, &geometry, x);
            let dx = emit::max_pool_backward(&mut bench, &geometry, argmax, dy);
            let device = bench.run::<f64>();
            [y, dx].map(|view| device.reals(view).to_vec())
        };
        let gradient = |dy: &[f64], _: bool| {
            let [_, dx] = both(dy);
            dx
        };
        let taps = geometry.window.taps();
        check_linearity(&gradient, small, taps, seed)?;
        let [y, dx] = both(&dy);
        let size = inner(&absolute(&y), &absolute(&dy));
        check_equal([&y, &dy], [&x, &dx], taps, size)
    });
}

#[test]
fn the_gradients_of_activation_and_batch_norm_are_linear_in_the_gradient_they_are_given() {
    for_all(512, (batch(), activation()), |(batch, activation)| {
        let (shape, values) = (batch.shape, batch.values());
        let slopes = |dy: &[f64], _: bool| {
            let mut bench = Bench::new();
            let (x, dy) = (bench.given(&values.x), bench.given(dy));
            let y = emit::activate(&mut bench, activation, x);
            let dx = emit::activate_backward(&mut bench, activation, y, dy);
            bench.values(dx)
        };
        check_linearity(&slopes, shape.len(), 1, shape.seed)?;

        let norm = |dy: &[f64], bound: bool| {
            let mut bench = Bench::new();
            let (x, norm) = values.load(&mut bench, Activation::Identity);
            let given = bench.given(dy);
            let saved = emit::batch_norm(&mut bench, shape, x, norm, true);
            let [_, _, dx] = emit::batch_norm_backward(&mut bench, saved, norm.gamma, given);
            let device = bench.run::<f64>();
            if !bound {
                return device.reals(dx).to_vec();
            }
            // |γ| inv_std (|g| + mean |g| + |x̂| mean |g x̂|), where mean x̂² ≤ 1 and so x̂² ≤ N.
            let most = dy.iter().fold(0.0, |most: f64, dy| most.max(dy.abs()));
            let inv_std = device.reals(saved.normaliser.inv_std);
            let scale = inv_std
                .iter()
                .zip(&values.gamma)
                .map(|(inv_std, gamma)| inv_std * gamma.abs());
            let root = (shape.rows as f64).sqrt();
            let row: Vec<f64> = scale.map(|scale| scale * most * (2.0 + root)).collect();
            row.repeat(shape.rows)
        };
        check_linearity(&norm, shape.len(), shape.rows, shape.seed)
    });
}
