//! What must not change a result, and results that are known beforehand. All in f64.

use std::cell::Cell;

use diabolo::buffer::View;
use diabolo::gradcheck::Geometry;
use diabolo::kernels::{Activation, Window};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::batch_norm::{Batch, batch, columns, outputs};
use super::bench::{Bench, DOUBLE, compare, single, uniform};
use super::emit::{self, PLAIN};
use super::exact::{Exact, exact, sum};
use super::shapes::{activation, enlarged, geometry, pooling, shape, side};
use super::{for_all, oracle};

/// A permutation of so many images or rows.
fn order(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}

/// The pieces that a vector is made of, in another order.
fn permuted<T: Copy>(values: &[T], order: &[usize]) -> Vec<T> {
    let len = values.len() / order.len();
    order
        .iter()
        .flat_map(|&i| values[i * len..][..len].iter().copied())
        .collect()
}

/// Device's numbers with the oracle's bounds, doubled: of two computations either may round.
fn twice(values: &[f64], bounds: &[Exact]) -> Vec<Exact> {
    let pairs = values.iter().zip(bounds);
    pairs
        .map(|(&value, bound)| Exact {
            value,
            slack: 2.0 * bound.slack,
        })
        .collect()
}

/// Runs a map on x and on x permuted, and compares within the bounds.
fn check_permutes(
    x: &[f64],
    order: &[usize],
    bounds: &[Exact],
    map: impl Fn(&mut Bench, View) -> View,
) -> TestCaseResult {
    let run = |x: &[f64]| {
        let mut bench = Bench::new();
        let x = bench.given(x);
        let y = map(&mut bench, x);
        bench.values(y)
    };
    let expected = permuted(&twice(&run(x), bounds), order);
    compare("permuted", &run(&permuted(x, order)), &expected, DOUBLE)
}

#[test]
fn images_in_another_order_give_maps_in_that_order() {
    for_all(512, pooling(), |(geometry, seed)| {
        let geometry = Geometry {
            images: 5,
            ..geometry
        };
        let order = order(geometry.images, seed);
        let x = uniform(geometry.rows()[0] * geometry.channels, seed);
        let weight = uniform(emit::weight_len(&geometry), seed + 1);
        let sums = oracle::convolution(&geometry, &x, &weight);
        check_permutes(&x, &order, &sums, |bench, x| {
            let weight = bench.given(&weight);
            emit::convolve(bench, &geometry, x, weight, PLAIN)
        })?;
        let untouched = vec![Exact::default(); geometry.rows()[1] * geometry.channels];
        check_permutes(&x, &order, &untouched, |bench, x| {
            let [y, _] = emit::max_pool(bench, &geometry, x);
            y
        })?;
        check_permutes(&x, &order, &untouched, |bench, x| {
            emit::average_pool(bench, &geometry, x)
        })
    });
}

#[test]
fn samples_in_another_order_give_results_in_that_order_even_normalised_by_themselves() {
    for_all(512, (batch(), side()), |(batch, features)| {
        let (shape, values) = (batch.shape, batch.values());
        let order = order(shape.rows, shape.seed);
        for training in [true, false] {
            let bounds = outputs(&batch, &columns(&batch, &values, training));
            check_permutes(&values.x, &order, &bounds, |bench, x| {
                let (_, norm) = values.load(bench, batch.activation);
                emit::batch_norm(bench, shape, x, norm, training).y.view
            })?;
        }
        let weight = uniform(shape.cols * features, shape.seed);
        let dims = [shape.rows, shape.cols, features];
        let x = |i: usize, p: usize| values.x[i * shape.cols + p];
        let products = oracle::product(dims, x, |p, j| weight[p * features + j]);
        check_permutes(&values.x, &order, &products, |bench, x| {
            let weight = bench.given(&weight);
            emit::gemm(bench, dims, (x, false), (weight, false), PLAIN)
        })
    });
}

/// An image moved by so many pixels down and across, zeros coming in.
fn moved(geometry: &Geometry, x: &[f64], by: [usize; 2]) -> Vec<f64> {
    let [height, width] = geometry.window.size;
    let mut target = vec![0.0; x.len()];
    for row in 0..geometry.images * height {
        for col in 0..width {
            if row % height >= by[0] && col >= by[1] {
                let from = (row - by[0]) * width + col - by[1];
                let c = geometry.channels;
                target[(row * width + col) * c..][..c].copy_from_slice(&x[from * c..][..c]);
            }
        }
    }
    target
}

#[test]
fn moving_an_image_by_strides_moves_the_inside_of_its_maps_by_places() {
    let compared = Cell::new(0);
    let cases = (geometry(), [0..=2usize, 0..=2usize]);
    for_all(512, cases, |((geometry, seed), shift)| {
        let Window {
            size,
            kernel,
            stride,
            padding,
            dilation,
        } = geometry.window;
        let by = [0, 1].map(|i| shift[i] * stride[i]);
        let x = uniform(geometry.rows()[0] * geometry.channels, seed);
        let weight = uniform(emit::weight_len(&geometry), seed + 1);
        let bounds = oracle::convolution(&geometry, &x, &weight);
        let mut bench = Bench::new();
        let weight = bench.given(&weight);
        let [before, after] = [x.clone(), moved(&geometry, &x, by)].map(|x| {
            let x = bench.given(&x);
            emit::convolve(&mut bench, &geometry, x, weight, PLAIN)
        });
        let device = bench.run::<f64>();
        let (before, after) = (twice(device.reals(before), &bounds), device.reals(after));

        // Inside: all taps on the image, before and after.
        let inside = |i: usize, place: usize| {
            let first = place * stride[i];
            let last = first + (kernel[i] - 1) * dilation[i];
            first >= padding[i] + by[i] && last < padding[i] + size[i]
        };
        let [rows, cols] = oracle::places(&geometry.window);
        for place in 0..geometry.rows()[1] {
            let (row, col) = (place / cols % rows, place % cols);
            if inside(0, row) && inside(1, col) {
                let from = place - shift[0] * cols - shift[1];
                let [here, there] = [place, from].map(|place| place * geometry.maps);
                let expected = &before[there..][..geometry.maps];
                compare("moved", &after[here..][..geometry.maps], expected, DOUBLE)?;
                compared.set(compared.get() + 1);
            }
        }
        Ok(())
    });
    assert!(compared.get() > 1000, "{} places compared", compared.get());
}

#[test]
fn the_maximum_of_a_constant_is_the_constant() {
    for_all(512, (pooling(), -9.0..9.0), |((geometry, _), constant)| {
        let mut bench = Bench::new();
        let x = bench.given(&vec![constant; geometry.rows()[0] * geometry.channels]);
        let [y, _] = emit::max_pool(&mut bench, &geometry, x);
        prop_assert!(bench.values(y).iter().all(|&y| y == constant));
        Ok(())
    });
}

#[test]
fn average_pool_undoes_upsampling_by_the_same_factor() {
    for_all(512, enlarged(), |case| {
        let (enlargement, channels) = (case.enlargement, case.channels);
        let [height, width] = enlargement.size;
        let x = uniform(case.images * height * width * channels, case.seed);
        let geometry = Geometry {
            images: case.images,
            window: Window {
                size: enlargement.enlarged(),
                kernel: enlargement.factor,
                stride: enlargement.factor,
                padding: [0; 2],
                dilation: [1; 2],
            },
            channels,
            maps: 1,
        };
        let copies = enlargement.factor[0] * enlargement.factor[1];
        let mean = |&x: &f64| sum(vec![exact(x); copies]) / exact(copies as f64);
        let expected: Vec<_> = x.iter().map(mean).collect();
        let mut bench = Bench::new();
        let x = bench.given(&x);
        let y = emit::upsample(&mut bench, enlargement, channels, x);
        let back = emit::average_pool(&mut bench, &geometry, y);
        bench.check(&[("mean of copies", back, &expected)])
    });
}

#[test]
fn a_normalised_batch_has_mean_beta_and_variance_gamma_squared_but_for_epsilon() {
    for_all(512, batch(), |batch| {
        let values = batch.values();
        let batch = Batch {
            activation: Activation::Identity,
            ..batch
        };
        let columns = columns(&batch, &values, true);
        let mut bench = Bench::new();
        let (x, norm) = values.load(&mut bench, batch.activation);
        let y = emit::batch_norm(&mut bench, batch.shape, x, norm, true).y;
        let y = twice(&bench.values(y.view), &outputs(&batch, &columns));
        let n = exact(batch.shape.rows as f64);
        for (c, column) in columns.iter().enumerate() {
            let y: Vec<Exact> = y
                .iter()
                .skip(c)
                .step_by(batch.shape.cols)
                .copied()
                .collect();
            let mean = sum(y.iter().copied()) / n;
            let variance = sum(y.iter().map(|&y| (y - mean) * (y - mean))) / n;
            // Of (x − mean)/√(var + ε), the variance is var/(var + ε).
            let gamma = exact(values.gamma[c]);
            let expected = gamma * gamma * column.var / (column.var + exact(1e-5));
            let slack = variance.slack + expected.slack;
            let (beta, expected) = (
                Exact {
                    value: values.beta[c],
                    ..mean
                },
                Exact { slack, ..expected },
            );
            compare(
                "mean and variance",
                &[mean.value, variance.value],
                &[beta, expected],
                DOUBLE,
            )?;
        }
        Ok(())
    });
}

#[test]
fn an_activation_s_slope_is_its_numeric_derivative_away_from_kinks() {
    const H: f64 = 1e-5;
    for_all(512, (shape(), activation()), |(shape, f)| {
        let x: Vec<f64> = uniform(shape.len(), shape.seed)
            .into_iter()
            .map(|u| single(10.0 * u + (2.0 * H).copysign(u)))
            .collect();
        let mut bench = Bench::new();
        let ones = bench.given(&vec![1.0; x.len()]);
        let [before, here, after] = [-H, 0.0, H].map(|h| {
            let x: Vec<f64> = x.iter().map(|x| x + h).collect();
            let x = bench.given(&x);
            emit::activate(&mut bench, f, x)
        });
        let slope = emit::activate_backward(&mut bench, f, here, ones);
        let device = bench.run::<f64>();
        let pairs = device.reals(after).iter().zip(device.reals(before));
        let expected = pairs.zip(&x).map(|((after, before), &x)| {
            let value = (after - before) / (2.0 * H);
            // Either end is off by its own rounding and x's; what the difference leaves out is
            // h²/6 times the third derivative, below 2 for all of them.
            let ends = (2.0 * oracle::activate(f, exact(x)).slack + 2.0 * x.abs()) / H;
            let left_out = H * H / 3.0 / DOUBLE;
            let slack = ends + left_out + oracle::slope(f, exact(x)).slack;
            Exact { value, slack }
        });
        let expected: Vec<_> = expected.collect();
        compare("slope", device.reals(slope), &expected, DOUBLE)
    });
}
