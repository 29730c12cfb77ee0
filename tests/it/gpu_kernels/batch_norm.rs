//! Batch normalisation.

use diabolo::buffer::View;
use diabolo::kernels::batch_norm::{self, Normaliser, definition};
use diabolo::kernels::column_sum::blocks;
use diabolo::kernels::{Activation, ROWS_PER_BLOCK, activation};

use super::harness::{Case, Ready, gpu};
use super::{ACTIVATIONS, EPSILON, SIZES, through};

/// Column c of some rows.
fn column(rows: &[f64], cols: usize, c: usize) -> Vec<f64> {
    rows[c..].iter().step_by(cols).copied().collect()
}

/// g = dy · f′, x, mean and inv_std.
fn given(ready: &Ready, saved: batch_norm::Saved, dy: View) -> [Vec<f64>; 4] {
    let Normaliser { mean, inv_std } = saved.normaliser;
    let views = [saved.y.view, dy, saved.x.view, mean, inv_std];
    let [y, dy, x, mean, inv_std] = views.map(|view| ready.given(view));
    let g = y.iter().zip(&dy);
    let g = g.map(|(&y, &dy)| activation::definition::backward(saved.activation, y, dy));
    [g.collect(), x, mean, inv_std]
}

pub fn batch_norm_forward() {
    let Some(adapter) = gpu() else { return };
    // Sums over a block of 32 rows of values below 1.
    let block_sum = 4.0 * 32f64.sqrt() * EPSILON * 32.0;
    for rows in [2, 31, 33, 64, 127, 129, 784] {
        for cols in SIZES {
            let mut test = Case::new(rows * 7 + cols);
            let x = test.real("x", rows * cols).matrix(rows, cols);
            let partial = test.output("partial", batch_norm::partial_len(rows, cols));
            // Squares reach 4, and carry the mean's error twice.
            let ready = test.finish(batch_norm::Moments { x, partial });
            ready.compare(&adapter, |_, _, _| 4.0 * block_sum);
            let given = ready.given(x.view);
            let blocks_of = given.chunks(ROWS_PER_BLOCK * cols);
            let moments = blocks_of.flat_map(|block| {
                let columns = (0..cols).map(|c| definition::moments(&column(block, cols, c)));
                let (means, squares): (Vec<f64>, Vec<f64>) = columns.unzip();
                [means, squares].concat()
            });
            ready.defined(partial, &moments.collect::<Vec<_>>());

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
            let ready = test.finish(statistics);
            ready.compare(&adapter, |operand, _, expected| {
                let mean = 4.0 * ((count as f64).sqrt() + 4.0) * EPSILON;
                match operand {
                    "inv_std" => 32.0 * mean * expected.abs(),
                    _ => mean * expected.abs().max(1.0),
                }
            });
            let given = ready.given(partial);
            let [old_mean, old_var] = [running_mean, running_var].map(|view| ready.given(view));
            let mut expected: [Vec<f64>; 4] = Default::default();
            for c in 0..cols {
                let blocks = given.chunks(2 * cols).enumerate().map(|(block, partial)| {
                    let height = ROWS_PER_BLOCK.min(rows - block * ROWS_PER_BLOCK);
                    (height, partial[c], partial[cols + c])
                });
                let (mean, squares) = definition::combined(&blocks.collect::<Vec<_>>());
                let inv_std = definition::inv_std(squares / rows as f64);
                let unbiased = squares / (rows - 1) as f64;
                let after = [
                    mean,
                    inv_std,
                    definition::running(old_mean[c], mean),
                    definition::running(old_var[c], unbiased),
                ];
                let columns = expected.iter_mut().zip(after);
                columns.for_each(|(column, value)| column.push(value));
            }
            let written = [
                normaliser.mean,
                normaliser.inv_std,
                running_mean,
                running_var,
            ];
            for (view, expected) in written.into_iter().zip(&expected) {
                ready.defined(view, expected);
            }

            let mut test = Case::new(rows * 7 + cols);
            let evaluate = batch_norm::Evaluate {
                running_mean: test.real("running_mean", cols),
                running_var: test.uniform("running_var", cols, 0.01..2.0),
                normaliser: Normaliser {
                    mean: test.output("mean", cols),
                    inv_std: test.output("inv_std", cols),
                },
            };
            let normaliser = evaluate.normaliser;
            let [mean, var] = [evaluate.running_mean, evaluate.running_var];
            let ready = test.finish(evaluate);
            ready.compare(&adapter, |_, _, expected| 10.0 * EPSILON * expected.abs());
            ready.defined(normaliser.mean, &ready.given(mean));
            let inv_std = ready.given(var).into_iter().map(definition::inv_std);
            ready.defined(normaliser.inv_std, &inv_std.collect::<Vec<_>>());

            for &activation in ACTIVATIONS {
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
                let Normaliser { mean, inv_std } = apply.normaliser;
                let (y, views) = (apply.y, [mean, inv_std, apply.gamma, apply.beta]);
                let ready = test.finish(apply);
                ready.compare(&adapter, |_, _, _| error);
                let [mean, inv_std, gamma, beta] = views.map(|view| ready.given(view));
                let elements = ready.given(x.view).into_iter().enumerate().map(|(i, x)| {
                    let c = i % cols;
                    let moments = [mean[c], inv_std[c]];
                    let y = definition::normalised(x, moments, [gamma[c], beta[c]]);
                    activation::definition::forward(activation, y)
                });
                ready.defined(y.view, &elements.collect::<Vec<_>>());
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

pub fn batch_norm_backward() {
    let Some(adapter) = gpu() else { return };
    for rows in SIZES {
        for cols in SIZES {
            for &activation in ACTIVATIONS {
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
                let ready = test.finish(kernel);
                ready.compare(&adapter, |_, _, _| bound);
                let [g, x, mean, inv_std] = given(&ready, saved_here, dy.view);
                let height = ROWS_PER_BLOCK * cols;
                let sums = g.chunks(height).zip(x.chunks(height)).flat_map(|(g, x)| {
                    let columns = (0..cols).map(|c| {
                        let [g, x] = [g, x].map(|block| column(block, cols, c));
                        definition::sums(&g, &x, [mean[c], inv_std[c]])
                    });
                    let (d_beta, d_gamma): (Vec<f64>, Vec<f64>) = columns.unzip();
                    [d_beta, d_gamma].concat()
                });
                ready.defined(partial, &sums.collect::<Vec<_>>());

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
                let (gradient, views) = (
                    kernel.gradient,
                    [kernel.gamma, kernel.d_beta, kernel.d_gamma],
                );
                let ready = test.finish(kernel);
                ready.compare(&adapter, |_, _, _| bound);
                let [g, x, mean, inv_std] = given(&ready, saved_here, gradient.view);
                let [gamma, d_beta, d_gamma] = views.map(|view| ready.given(view));
                let elements = g.iter().zip(&x).enumerate().map(|(i, (&g, &x))| {
                    let c = i % cols;
                    let moments = [mean[c], inv_std[c]];
                    let sums = [d_beta[c], d_gamma[c]];
                    definition::backward(g, x, rows, moments, gamma[c], sums)
                });
                ready.defined(gradient.view, &elements.collect::<Vec<_>>());
            }
            let mut test = Case::new(rows * 11 + cols);
            let kernel = batch_norm::BackwardFinish {
                partial: test.real("partial", rows * 2 * cols),
                d_gamma: test.output("d_gamma", cols),
                d_beta: test.output("d_beta", cols),
            };
            let bound = 4.0 * (rows as f64).sqrt() * EPSILON * rows as f64;
            let (partial, sums) = (kernel.partial, [kernel.d_beta, kernel.d_gamma]);
            let ready = test.finish(kernel);
            ready.compare(&adapter, |_, _, _| bound);
            let given = ready.given(partial);
            for (view, first) in sums.into_iter().zip([0, cols]) {
                let column = |c: usize| given[first + c..].iter().step_by(2 * cols);
                let totals = (0..cols).map(|c| column(c).sum());
                ready.defined(view, &totals.collect::<Vec<f64>>());
            }
        }
    }
}
