//! Every kernel on the GPU and on the CPU in f32, against the CPU in f64, on ragged sizes.
//!
//! ε = 2⁻²⁴ is f32's unit roundoff. A sum of K products is wrong by about √K·ε times the sum of
//! their absolute values when roundings are independent; the tolerances below take four times
//! that. WGSL promises exp, log, sqrt and division to a few ulps only; what it promises is in the
//! tolerance. Nothing here was widened to get green: a wrong index or a missing term is off by
//! orders more.
//!
//! Every written operand lies in the middle of a larger buffer, whose rest must stay untouched.
//! Every launch runs twice on the GPU: with shaders as they are shipped, and with every index
//! checked by the driver.

#[path = "../common/adapter.rs"]
mod adapter;
mod convolution;
mod edges;
mod gemm_ladder;
#[path = "../common/geometry.rs"]
mod geometry;
mod harness;
mod models;
mod nearest;
mod optimisers;
mod products;

use diabolo::buffer::Element;
use diabolo::image::ImageShape;
use diabolo::kernels::adam::{Adam, Hyperparameters};
use diabolo::kernels::batch_norm::{self, Normaliser};
use diabolo::kernels::clock::Advance;
use diabolo::kernels::column_sum::{ColumnSumFinish, ColumnSumPartial, blocks};
use diabolo::kernels::gather::{Gather, Noise};
use diabolo::kernels::gemm::Gemm;
use diabolo::kernels::loss::{self, Loss};
use diabolo::kernels::random::Streams;
use diabolo::kernels::warp::Warp;
use diabolo::kernels::{Activation, activation};
use rand::RngExt;

use harness::{Case, gpu};

const EPSILON: f64 = 1.0 / 16_777_216.0;
const SIZES: [usize; 7] = [1, 31, 33, 64, 127, 129, 784];
const ACTIVATIONS: [Activation; 7] = Activation::FUSIBLE;

/// How far f moves for an error in its argument, plus f's own: a sigmoid's slope is 1/4 at most,
/// the others' 1; WGSL's exp is good to 3 + 2|x| ulps, its log to 3 and its division to 2.5; all of
/// what they make is below 1, but for softplus' sum with its argument.
fn through(activation: Activation, argument: f64, error: f64) -> f64 {
    let exponential = (12.0 + 2.0 * argument.abs()) * EPSILON;
    match activation {
        Activation::Identity | Activation::Relu => error,
        Activation::LeakyRelu => error + EPSILON * argument.abs(),
        Activation::Sigmoid => error / 4.0 + exponential,
        // tanh squares its exponential, which doubles its relative error.
        Activation::Tanh => error + 2.0 * exponential,
        Activation::Elu | Activation::Softplus => error + 2.0 * exponential,
        // A polynomial good to 7.5e-8, or quotients of exponentials, times the argument.
        Activation::Gelu | Activation::Silu | Activation::Mish => {
            1.2 * error + argument.abs() * (2.0 * EPSILON + 2.0 * exponential)
        }
    }
}

#[test]
fn gemm_in_all_transpose_cases_with_every_epilogue() {
    let Some(adapter) = gpu() else { return };
    let shapes = [
        [1, 1, 1],
        [31, 33, 1],
        [1, 127, 33],
        [33, 129, 127],
        [129, 31, 64],
        [64, 784, 65],
        [127, 1, 129],
        [200, 17, 300],
    ];
    for (case, [m, k, n]) in shapes.into_iter().enumerate() {
        for variant in 0..4 {
            for activation in ACTIVATIONS {
                let (ta, tb) = (variant & 1 == 1, variant & 2 == 2);
                let mut test = Case::new(case * 4 + variant);
                let (a, b) = (test.real("a", m * k), test.real("b", k * n));
                let bias = (activation != Activation::Identity).then(|| test.real("bias", n));
                let y = test.output("y", m * n).matrix(m, n);
                let values = |view| {
                    let found = test.reals.iter().rev().find(|(v, _)| *v == view);
                    found.expect("given").1.clone()
                };
                let (a_values, b_values) = (values(a), values(b));
                let at = |i: usize, p: usize| {
                    f64::from(a_values[if ta { p * m + i } else { i * k + p }])
                };
                let bt = |p: usize, j: usize| {
                    f64::from(b_values[if tb { j * k + p } else { p * n + j }])
                };
                let tolerance = |_: &str, index: usize, _: f64| {
                    let (i, j) = (index / n, index % n);
                    let products: f64 = (0..k).map(|p| (at(i, p) * bt(p, j)).abs()).sum();
                    // The bias is below 1, and rounds once more with the sum.
                    let sum = 4.0 * (k as f64).sqrt() * EPSILON * products
                        + 2.0 * EPSILON * (1.0 + products);
                    through(activation, products + 1.0, sum)
                };
                let mut gemm = Gemm {
                    bias,
                    activation,
                    ..Gemm::new(
                        if ta { a.matrix(k, m) } else { a.matrix(m, k) },
                        if tb { b.matrix(n, k) } else { b.matrix(k, n) },
                        y,
                    )
                };
                (gemm.transpose_a, gemm.transpose_b) = (ta, tb);
                test.finish(gemm).compare(&adapter, tolerance);
            }
        }
    }
}

#[test]
fn column_sums() {
    let Some(adapter) = gpu() else { return };
    for rows in SIZES {
        for cols in SIZES {
            let mut test = Case::new(rows + cols);
            let x = test.real("x", rows * cols).matrix(rows, cols);
            let partial = test.output("partial", blocks(rows) * cols);
            let sum = 4.0 * 32f64.sqrt() * EPSILON * 32.0;
            test.finish(ColumnSumPartial { x, partial })
                .compare(&adapter, |_, _, _| sum);

            let mut test = Case::new(rows + cols);
            let partial = test.real("partial", rows * cols).matrix(rows, cols);
            let sum = test.output("sum", cols);
            let bound = 4.0 * (rows as f64).sqrt() * EPSILON * rows as f64;
            test.finish(ColumnSumFinish { partial, sum })
                .compare(&adapter, |_, _, _| bound);
        }
    }
}

#[test]
fn batch_norm_forward() {
    let Some(adapter) = gpu() else { return };
    // Sums over a block of 32 rows of values below 1.
    let block_sum = 4.0 * 32f64.sqrt() * EPSILON * 32.0;
    for rows in [2, 31, 33, 64, 127, 129, 784] {
        for cols in SIZES {
            let mut test = Case::new(rows * 7 + cols);
            let x = test.real("x", rows * cols).matrix(rows, cols);
            let partial = test.output("partial", batch_norm::partial_len(rows, cols));
            // Squares reach 4, and carry the mean's error twice.
            test.finish(batch_norm::Moments { x, partial })
                .compare(&adapter, |_, _, _| 4.0 * block_sum);

            let mut test = Case::new(rows * 7 + cols);
            let count = blocks(rows);
            let partial = test.uniform("partial", count * 2 * cols, 0.5..1.0);
            let normaliser = Normaliser {
                mean: test.output("mean", cols),
                inv_std: test.output("inv_std", cols),
            };
            let running_mean = test.real("running_mean", cols);
            let running_var = test.uniform("running_var", cols, 0.5..1.5);
            let statistics = batch_norm::Statistics {
                partial,
                rows,
                normaliser,
                running_mean,
                running_var,
            };
            // Means of terms below 1, in `count` steps; inv_std = v^(−1/2) has the relative error
            // of v halved, and v ≥ 0.5/32.
            test.finish(statistics)
                .compare(&adapter, |operand, _, expected| {
                    let mean = 4.0 * ((count as f64).sqrt() + 4.0) * EPSILON;
                    match operand {
                        "inv_std" => 32.0 * mean * expected.abs(),
                        _ => mean * expected.abs().max(1.0),
                    }
                });

            let mut test = Case::new(rows * 7 + cols);
            let evaluate = batch_norm::Evaluate {
                running_mean: test.real("running_mean", cols),
                running_var: test.uniform("running_var", cols, 0.01..2.0),
                normaliser: Normaliser {
                    mean: test.output("mean", cols),
                    inv_std: test.output("inv_std", cols),
                },
            };
            test.finish(evaluate)
                .compare(&adapter, |_, _, expected| 10.0 * EPSILON * expected.abs());

            for activation in ACTIVATIONS {
                let mut test = Case::new(rows * 7 + cols);
                let x = test.real("x", rows * cols).matrix(rows, cols);
                let apply = batch_norm::Apply {
                    x,
                    normaliser: Normaliser {
                        mean: test.real("mean", cols),
                        inv_std: test.uniform("inv_std", cols, 0.5..2.0),
                    },
                    gamma: test.real("gamma", cols),
                    beta: test.real("beta", cols),
                    y: test.output("y", rows * cols).matrix(rows, cols),
                    activation,
                };
                // Four roundings of numbers that reach 2·2 + 1.
                let error = through(activation, 5.0, 4.0 * 5.0 * EPSILON);
                test.finish(apply).compare(&adapter, |_, _, _| error);
            }
        }
    }
}

/// What batch norm's backward reads, with y away from ReLU's kink.
fn saved(test: &mut Case, rows: usize, cols: usize, activation: Activation) -> batch_norm::Saved {
    batch_norm::Saved {
        x: test.real("x", rows * cols).matrix(rows, cols),
        y: test.real("y", rows * cols).matrix(rows, cols),
        normaliser: Normaliser {
            mean: test.real("mean", cols),
            inv_std: test.uniform("inv_std", cols, 0.5..2.0),
        },
        activation,
    }
}

#[test]
fn batch_norm_backward() {
    let Some(adapter) = gpu() else { return };
    for rows in SIZES {
        for cols in SIZES {
            for activation in ACTIVATIONS {
                let mut test = Case::new(rows * 11 + cols);
                let saved_here = saved(&mut test, rows, cols, activation);
                let dy = test.real("dy", rows * cols).matrix(rows, cols);
                let partial = test.output("partial", batch_norm::partial_len(rows, cols));
                let kernel = batch_norm::BackwardPartial {
                    saved: saved_here,
                    dy,
                    partial,
                };
                // 32 terms g x̂ of at most 2 (sigmoid's y(1 − y) reaches −2 here) times 4.
                let bound = 4.0 * 32f64.sqrt() * EPSILON * 32.0 * 8.0;
                test.finish(kernel).compare(&adapter, |_, _, _| bound);

                let mut test = Case::new(rows * 11 + cols);
                let saved_here = saved(&mut test, rows, cols, activation);
                let kernel = batch_norm::BackwardApply {
                    saved: saved_here,
                    gradient: test.real("gradient", rows * cols).matrix(rows, cols),
                    gamma: test.real("gamma", cols),
                    d_gamma: test.real("d_gamma", cols),
                    d_beta: test.real("d_beta", cols),
                };
                // Eight roundings of numbers that reach 2·(2 + 1 + 4).
                let bound = 8.0 * 14.0 * EPSILON;
                test.finish(kernel).compare(&adapter, |_, _, _| bound);
            }
            let mut test = Case::new(rows * 11 + cols);
            let kernel = batch_norm::BackwardFinish {
                partial: test.real("partial", rows * 2 * cols),
                d_gamma: test.output("d_gamma", cols),
                d_beta: test.output("d_beta", cols),
            };
            let bound = 4.0 * (rows as f64).sqrt() * EPSILON * rows as f64;
            test.finish(kernel).compare(&adapter, |_, _, _| bound);
        }
    }
}

#[test]
fn activations_forward_and_backward_even_far_out() {
    let Some(adapter) = gpu() else { return };
    for len in SIZES {
        for activation in Activation::ALL {
            for reach in [1.0f32, 200.0] {
                let mut test = Case::new(len);
                let kernel = activation::Forward {
                    x: test.uniform("x", len, -reach..reach),
                    y: test.output("y", len),
                    activation,
                };
                // Far out the sigmoid is flat: its own error, not its argument's, counts.
                let bound = through(activation, f64::from(reach.min(20.0)), 0.0);
                test.finish(kernel).compare(&adapter, |_, _, _| bound);
            }
            let mut test = Case::new(len);
            // Softplus is never negative; its slope is an exponential, good to 5 ulps there.
            let (range, bound) = match activation {
                Activation::Softplus => (0.0..1.0, (10.0 + 4.0) * EPSILON),
                // Six times what an exponential is off by, 12 ulps.
                _ if activation.reads_input() => (-6.0..6.0, 100.0 * EPSILON),
                _ => (-1.0..1.0, 3.0 * 2.0 * EPSILON),
            };
            let kernel = activation::Backward {
                saved: test.uniform("saved", len, range),
                dy: test.real("dy", len),
                dx: test.output("dx", len),
                activation,
            };
            test.finish(kernel).compare(&adapter, |_, _, _| bound);
        }
    }
}

#[test]
fn losses_and_their_gradients() {
    let Some(adapter) = gpu() else { return };
    for loss in [Loss::MeanSquaredError, Loss::BinaryCrossEntropy] {
        for len in [
            1,
            31,
            33,
            127,
            129,
            loss::BLOCK - 1,
            loss::BLOCK + 1,
            3 * loss::BLOCK + 5,
        ] {
            let mut test = Case::new(len);
            let kernel = loss::Partial {
                y: test.uniform("y", len, -4.0..4.0),
                target: test.uniform("target", len, 0.0..1.0),
                partial: test.output("partial", len.div_ceil(loss::BLOCK)),
                loss,
            };
            // No term is negative, so the sum is also that of absolute values. Each term is off by
            // a few roundings of itself, of numbers below 8, and of a logarithm that WGSL promises
            // to 2⁻²¹ = 8ε.
            test.finish(kernel).compare(&adapter, |_, i, expected| {
                let terms = loss::BLOCK.min(len - i * loss::BLOCK) as f64;
                (4.0 * terms.sqrt() + 8.0) * EPSILON * expected + 24.0 * EPSILON * terms
            });

            let mut test = Case::new(len);
            let kernel = loss::Gradient {
                y: test.uniform("y", len, -4.0..4.0),
                target: test.uniform("target", len, 0.0..1.0),
                dy: test.output("dy", len),
                loss,
                divisor: len as f64,
            };
            let bound = 20.0 * EPSILON * 10.0 / len as f64;
            test.finish(kernel).compare(&adapter, |_, _, _| bound);
        }
    }
    for blocks in SIZES {
        let mut test = Case::new(blocks);
        let kernel = loss::Finish {
            partial: test.real("partial", blocks),
            divisor: 1000.0,
            clock: test.index("clock", vec![3, 77]),
            note: test.real("note", 9),
        };
        let bound = 4.0 * (blocks as f64).sqrt() * EPSILON * blocks as f64 / 1000.0;
        test.finish(kernel)
            .compare(&adapter, |_, i, expected| match i {
                3 => bound + 3.0 * EPSILON * expected.abs(),
                _ => 0.0, // other steps' losses stay
            });
    }
}

#[test]
fn gather_draws_the_same_noise_and_the_same_masks() {
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
            test.bytes.push((images, pixels));
            let order = (0..3 * rows)
                .map(|_| test.rng.random_range(0..count as u32))
                .collect();
            let kernel = Gather {
                images,
                order: test.index("order", order),
                clock: test.index("clock", vec![2, 1234]),
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
            test.finish(kernel)
                .compare(&adapter, |operand, _, expected| match operand {
                    "clean" => 5.0 * EPSILON * expected.abs(),
                    _ => 5.0 * EPSILON + place + f64::from(gaussian) * 6.0 * 24.0 * EPSILON,
                });
        }
    }
}

#[test]
fn adam_over_several_sizes() {
    let Some(adapter) = gpu() else { return };
    for len in [1, 31, 33, 127, 129, 70_000] {
        let mut test = Case::new(len);
        let hyper = Hyperparameters::default();
        let schedule = test.guarded("schedule", Element::Real, 9);
        let rows = (1..=3)
            .flat_map(|t| hyper.schedule_row(t, 1e-3))
            .map(|x| x as f32);
        test.reals.push((schedule, rows.collect()));
        let kernel = Adam {
            parameters: test.real("p", len),
            gradients: test.real("g", len),
            mean: test.real("m", len),
            variance: test.uniform("v", len, 0.01..1.0),
            schedule,
            clock: test.index("clock", vec![2, 2]),
            hyper,
            ends: vec![len / 3, len],
        };
        // p moves by rate·m/(√v·scale): at most 1e-2·1/(0.1·18); all else is below 1.
        test.finish(kernel)
            .compare(&adapter, |_, _, _| 8.0 * EPSILON);
    }
}

#[test]
fn the_clock_advances() {
    let Some(adapter) = gpu() else { return };
    let mut test = Case::new(0);
    let clock = test.index("clock", vec![41, u32::MAX]);
    test.finish(Advance { clock })
        .compare(&adapter, |_, _, _| 0.0);
}
