//! Products, column sums, activations, losses and the clock.

use diabolo::kernels::clock::{self, Advance};
use diabolo::kernels::column_sum::{self, ColumnSumFinish, ColumnSumPartial, blocks};
use diabolo::kernels::gemm::{self, Gemm};
use diabolo::kernels::loss::{self, Loss};
use diabolo::kernels::{Activation, ROWS_PER_BLOCK, activation};

use super::harness::{Case, gpu};
use super::{ACTIVATIONS, EPSILON, SIZES, through};

pub fn gemm_in_all_transpose_cases_with_every_epilogue() {
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
            for &activation in ACTIVATIONS {
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
                let y = gemm.y.view;
                let ready = test.finish(gemm);
                ready.compare(&adapter, tolerance);
                let bias = bias.map(|bias| ready.given(bias));
                let elements = (0..m * n).map(|index| {
                    let (i, j) = (index / n, index % n);
                    let product = gemm::definition::product(at, bt, k, [i, j]);
                    let bias = bias.as_ref().map_or(0.0, |bias| bias[j]);
                    activation::definition::forward(activation, product + bias)
                });
                ready.defined(y, &elements.collect::<Vec<_>>());
            }
        }
    }
}

pub fn column_sums() {
    let Some(adapter) = gpu() else { return };
    for rows in SIZES {
        for cols in SIZES {
            let mut test = Case::new(rows + cols);
            let x = test.real("x", rows * cols).matrix(rows, cols);
            let partial = test.output("partial", blocks(rows) * cols);
            let sum = 4.0 * 32f64.sqrt() * EPSILON * 32.0;
            let ready = test.finish(ColumnSumPartial { x, partial });
            ready.compare(&adapter, |_, _, _| sum);
            let given = ready.given(x.view);
            let sums = given.chunks(ROWS_PER_BLOCK * cols).flat_map(|block| {
                let column = move |c: usize| block[c..].iter().step_by(cols).copied();
                (0..cols).map(move |c| column_sum::definition::sum(column(c)))
            });
            ready.defined(partial, &sums.collect::<Vec<_>>());

            let mut test = Case::new(rows + cols);
            let partial = test.real("partial", rows * cols).matrix(rows, cols);
            let sum = test.output("sum", cols);
            let bound = 4.0 * (rows as f64).sqrt() * EPSILON * rows as f64;
            let ready = test.finish(ColumnSumFinish { partial, sum });
            ready.compare(&adapter, |_, _, _| bound);
            let given = ready.given(partial.view);
            let column = |c: usize| given[c..].iter().step_by(cols).copied();
            let sums = (0..cols).map(|c| column_sum::definition::sum(column(c)));
            ready.defined(sum, &sums.collect::<Vec<_>>());
        }
    }
}

pub fn activations_forward_and_backward_even_far_out() {
    let Some(adapter) = gpu() else { return };
    for len in SIZES {
        for activation in Activation::ALL {
            for reach in [1.0f32, 200.0] {
                let mut test = Case::new(len);
                let x = test.uniform("x", len, -reach..reach);
                let y = test.output("y", len);
                // Far out the sigmoid is flat: its own error, not its argument's, counts.
                let bound = through(activation, f64::from(reach.min(20.0)), 0.0);
                let ready = test.finish(activation::Forward { x, y, activation });
                ready.compare(&adapter, |_, _, _| bound);
                let given = ready.given(x).into_iter();
                let values = given.map(|x| activation::definition::forward(activation, x));
                ready.defined(y, &values.collect::<Vec<_>>());
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
            let (dx, saved, dy) = (kernel.dx, kernel.saved, kernel.dy);
            let ready = test.finish(kernel);
            ready.compare(&adapter, |_, _, _| bound);
            let pairs = ready.given(saved).into_iter().zip(ready.given(dy));
            let values =
                pairs.map(|(saved, dy)| activation::definition::backward(activation, saved, dy));
            ready.defined(dx, &values.collect::<Vec<_>>());
        }
    }
}

pub fn losses_and_their_gradients() {
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
            let (partial, views) = (kernel.partial, [kernel.y, kernel.target]);
            let ready = test.finish(kernel);
            ready.compare(&adapter, |_, i, expected| {
                let terms = loss::BLOCK.min(len - i * loss::BLOCK) as f64;
                (4.0 * terms.sqrt() + 8.0) * EPSILON * expected + 24.0 * EPSILON * terms
            });
            let [y, target] = views.map(|view| ready.given(view));
            let blocks = y.chunks(loss::BLOCK).zip(target.chunks(loss::BLOCK));
            let sums = blocks.map(|(y, target)| {
                let pairs = y.iter().zip(target);
                pairs
                    .map(|(&y, &t)| loss::definition::term(loss, y, t))
                    .sum::<f64>()
            });
            ready.defined(partial, &sums.collect::<Vec<_>>());

            let mut test = Case::new(len);
            let kernel = loss::Gradient {
                y: test.uniform("y", len, -4.0..4.0),
                target: test.uniform("target", len, 0.0..1.0),
                dy: test.output("dy", len),
                loss,
                divisor: len as f64,
            };
            let bound = 20.0 * EPSILON * 10.0 / len as f64;
            let (dy, views) = (kernel.dy, [kernel.y, kernel.target]);
            let ready = test.finish(kernel);
            ready.compare(&adapter, |_, _, _| bound);
            let [y, target] = views.map(|view| ready.given(view));
            let pairs = y.iter().zip(&target);
            let gradients =
                pairs.map(|(&y, &t)| loss::definition::gradient(loss, y, t) / len as f64);
            ready.defined(dy, &gradients.collect::<Vec<_>>());
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
        let (note, partial) = (kernel.note, kernel.partial);
        let ready = test.finish(kernel);
        ready.compare(&adapter, |_, i, expected| match i {
            3 => bound + 3.0 * EPSILON * expected.abs(),
            _ => 0.0, // other steps' losses stay
        });
        let mut notes = ready.given(note);
        notes[3] = ready.given(partial).iter().sum::<f64>() / 1000.0;
        ready.defined(note, &notes);
    }
}

pub fn the_clock_advances() {
    let Some(adapter) = gpu() else { return };
    let mut test = Case::new(0);
    let clock = test.index("clock", vec![41, u32::MAX]);
    let ready = test.finish(Advance { clock });
    ready.compare(&adapter, |_, _, _| 0.0);
    ready.defined_indices(clock, &[41, u32::MAX].map(clock::definition::advance));
}
