//! The kernels of classifiers and variational autoencoders: the CPU in f64 against each room's
//! definition, and every device against the CPU in f64. Each comparison with a definition is also made
//! with a mistaken one, which it has to tell apart.

use diabolo::buffer::{Matrix, View};
use diabolo::kernels::dropout::{self, Dropout};
use diabolo::kernels::elementwise::{Add, Copy};
use diabolo::kernels::gaussian::{
    self, KL_BLOCK, KlGradient, KlPartial, Mean, Sample, SampleBackward,
};
use diabolo::kernels::join::{self, Join, Split};
use diabolo::kernels::random::{BLOCK, normals, words};
use diabolo::kernels::softmax::{
    self, Finish, GatherLabels, Gradient, Partial, Probabilities, UNLABELLED, partial_len,
};
use diabolo::kernels::sparsity::{
    self, KlGradient as MeanGradient, KlPartial as MeanPartial, L1Gradient, L1Partial,
};
use rand::RngExt;

use super::EPSILON;
use super::harness::{Case, gpu};

/// Rows and columns.
const SHAPES: [[usize; 2]; 7] = [
    [1, 1],
    [1, 20],
    [3, 10],
    [64, 2],
    [65, 10],
    [129, 33],
    [300, 20],
];

fn matrix(test: &mut Case, name: &str, rows: usize, cols: usize) -> Matrix {
    test.uniform(name, rows * cols, -4.0..4.0)
        .matrix(rows, cols)
}

fn output(test: &mut Case, name: &str, rows: usize, cols: usize) -> Matrix {
    test.output(name, rows * cols).matrix(rows, cols)
}

/// Labels below `classes`; every fifth row has none.
fn labels(test: &mut Case, rows: usize, classes: usize) -> (View, Vec<u32>) {
    let label = |row| match row % 5 {
        2 => UNLABELLED,
        _ => test.rng.random_range(0..classes as u32),
    };
    let labels: Vec<u32> = (0..rows).map(label).collect();
    (test.index("labels", labels.clone()), labels)
}

/// Rows with their labels.
fn labelled<'a>(
    logits: &'a [f64],
    labels: &'a [u32],
    classes: usize,
) -> impl Iterator<Item = (&'a [f64], Option<usize>)> {
    let label = |&label: &u32| (label != UNLABELLED).then_some(label as usize);
    logits.chunks(classes).zip(labels.iter().map(label))
}

pub fn sums_and_copies_of_whole_views() {
    let Some(adapter) = gpu() else { return };
    for len in [1, 63, 64, 65, 4097] {
        let mut test = Case::new(len);
        let (x, y) = (test.real("x", len), test.real("y", len));
        let ready = test.finish(Add { x, y });
        ready.compare(&adapter, |_, _, sum| EPSILON * sum.abs());
        let pairs = ready.given(x).into_iter().zip(ready.given(y));
        let sums: Vec<f64> = pairs.map(|(x, y)| x + y).collect();
        assert!(ready.agrees(y, &sums) && !ready.agrees(y, &ready.given(x)));

        let mut test = Case::new(len);
        let (x, y) = (test.real("x", len), test.output("y", len));
        let ready = test.finish(Copy { x, y });
        ready.compare(&adapter, |_, _, _| 0.0);
        assert!(ready.agrees(y, &ready.given(x)));
    }
}

pub fn labels_come_in_the_order_of_their_images() {
    let Some(adapter) = gpu() else { return };
    for rows in [1, 64, 65, 130] {
        let mut test = Case::new(rows);
        let order = (0..3 * rows as u32).rev().collect();
        let kernel = GatherLabels {
            order: test.index("order", order),
            clock: test.index("clock", vec![2, 77]),
            labels: test.index("labels", (1000..1000 + 3 * rows as u32).collect()),
            batch: test.index("batch", vec![0; rows]),
        };
        let batch = kernel.batch;
        let ready = test.finish(kernel);
        // Indices must agree exactly: on every device the first third, backwards.
        ready.compare(&adapter, |_, _, _| 0.0);
        let labels: Vec<u32> = (1000..1000 + rows as u32).rev().collect();
        ready.defined_indices(batch, &labels);
    }
}

pub fn softmax_cross_entropy_is_its_definition_over_labelled_rows() {
    let Some(adapter) = gpu() else { return };
    for [rows, classes] in SHAPES {
        let mut test = Case::new(rows * classes);
        let logits = matrix(&mut test, "logits", rows, classes);
        let (view, of_rows) = labels(&mut test, rows, classes);
        let partial = test.output("partial", partial_len(rows));
        let ready = test.finish(Partial {
            logits,
            labels: view,
            partial,
        });
        // exp and log are good to 12 ulps at these arguments, in each of the block's terms.
        let terms = softmax::ROWS as f64;
        ready.compare(&adapter, |_, i, _| match i % 3 {
            0 => 40.0 * EPSILON * terms * (9.0 + (classes as f64).ln()),
            _ => 0.0,
        });
        let given = ready.given(logits.view);
        let sums = |is_wrong: fn(&[f64], usize) -> bool| -> Vec<f64> {
            let blocks = given
                .chunks(softmax::ROWS * classes)
                .zip(of_rows.chunks(softmax::ROWS));
            let sums = blocks.flat_map(|(logits, labels)| {
                let mut sums = [0.0; 3];
                for (y, label) in labelled(logits, labels, classes) {
                    if let Some(label) = label {
                        sums[0] += softmax::definition::loss(y, label);
                        sums[1] += 1.0;
                        sums[2] += f64::from(u8::from(is_wrong(y, label)));
                    }
                }
                sums
            });
            sums.collect()
        };
        assert!(ready.agrees(partial, &sums(softmax::definition::is_wrong)));
        // Rows without a label counted.
        let mut mistaken = sums(softmax::definition::is_wrong);
        for (block, labels) in mistaken.chunks_mut(3).zip(of_rows.chunks(softmax::ROWS)) {
            block[1] = labels.len() as f64;
        }
        assert!(rows < 3 || !ready.agrees(partial, &mistaken));

        // The gradient, of a mean over the labelled rows.
        for weight in [1.0, 0.25] {
            let mut test = Case::new(rows * classes);
            let logits = matrix(&mut test, "logits", rows, classes);
            let (view, of_rows) = labels(&mut test, rows, classes);
            let count = of_rows.iter().filter(|&&label| label != UNLABELLED).count() as f32;
            let labelled_rows = test.uniform("labelled", 1, 0.0..1.0);
            test.reals.last_mut().expect("just given").1.fill(count);
            let dy = output(&mut test, "dy", rows, classes);
            let ready = test.finish(Gradient {
                logits,
                labels: view,
                labelled: labelled_rows,
                dy,
                weight,
            });
            ready.compare(&adapter, |_, _, _| {
                40.0 * EPSILON * weight / f64::from(count.max(1.0))
            });
            let given = ready.given(logits.view);
            let divided_by = |count: f64| -> Vec<f64> {
                let rows = labelled(&given, &of_rows, classes);
                let rows = rows.flat_map(|(y, label)| match label {
                    None => vec![0.0; classes],
                    Some(label) => softmax::definition::gradient(y, label),
                });
                rows.map(|dy| weight * dy / count).collect()
            };
            assert!(ready.agrees(dy.view, &divided_by(count.into())));
            if count as usize != rows && classes > 1 {
                // The mean over all rows.
                assert!(!ready.agrees(dy.view, &divided_by(rows as f64)));
            }
        }
    }
}

pub fn the_mean_of_a_softmax_is_over_labelled_rows_and_0_without_any() {
    let Some(adapter) = gpu() else { return };
    for (blocks, counts) in [(1, 1.0..2.0), (3, 5.0..60.0), (2, 0.0..0.0001)] {
        let mut test = Case::new(blocks);
        let mut kernel = Finish {
            partial: test.uniform("partial", 3 * blocks, counts.clone()),
            clock: test.index("clock", vec![3, 77]),
            losses: test.real("losses", 9),
            errors: test.real("errors", 9),
            labelled: test.output("labelled", 1),
        };
        if counts.start == 0.0 {
            kernel.partial = test.uniform("none", 3 * blocks, 0.0..f32::MIN_POSITIVE);
            test.reals.last_mut().expect("just given").1.fill(0.0);
        }
        let (partial, losses, errors) = (kernel.partial, kernel.losses, kernel.errors);
        let labelled = kernel.labelled;
        let ready = test.finish(kernel);
        ready.compare(&adapter, |_, _, expected| 16.0 * EPSILON * expected.abs());
        let given = ready.given(partial);
        let sum = |which: usize| given.iter().skip(which).step_by(3).sum::<f64>();
        let divisor = if sum(1) > 0.0 { sum(1) } else { 1.0 };
        assert!(ready.agrees(labelled, &[sum(1)]));
        for (view, which) in [(losses, 0), (errors, 2)] {
            let mut expected = ready.given(view);
            assert!(!ready.agrees(view, &expected), "noted at no position");
            expected[3] = sum(which) / divisor;
            assert!(ready.agrees(view, &expected));
        }
    }
}

pub fn probabilities_are_those_of_the_definition_and_large_logits_do_not_overflow() {
    let Some(adapter) = gpu() else { return };
    for [rows, classes] in SHAPES {
        for reach in [4.0, 300.0] {
            let mut test = Case::new(rows * classes);
            let logits = test.uniform("logits", rows * classes, -reach..reach);
            let logits = logits.matrix(rows, classes);
            let y = output(&mut test, "y", rows, classes);
            let ready = test.finish(Probabilities { logits, y });
            // WGSL's exp(x) is good to 3 + 2|x| ulps.
            let bound = (12.0 + 4.0 * f64::from(reach)) * EPSILON;
            ready.compare(&adapter, |_, _, p| 4.0 * bound * p + 1e-30);
            let given = ready.given(logits.view);
            let rows_of = || given.chunks(classes);
            let expected: Vec<f64> = rows_of()
                .flat_map(softmax::definition::probabilities)
                .collect();
            assert!(ready.agrees(y.view, &expected));
            let mistaken: Vec<f64> = expected.iter().map(|p| p * 1.001).collect();
            assert!(!ready.agrees(y.view, &mistaken));
        }
    }
}

pub fn samples_are_those_of_the_definition_with_noise_of_seed_stream_and_step() {
    let Some(adapter) = gpu() else { return };
    let (seed, stream) = (0x1234_5678_9abc_def0, 9);
    for [rows, width] in SHAPES {
        let mut test = Case::new(rows * width);
        let q = matrix(&mut test, "q", rows, 2 * width);
        let kernel = Sample {
            q,
            clock: test.index("clock", vec![3, 77]),
            z: output(&mut test, "z", rows, width),
            noise: output(&mut test, "noise", rows, width),
            seed,
            stream,
        };
        let (z, noise) = (kernel.z.view, kernel.noise.view);
        let ready = test.finish(kernel);
        // e² · 5 at most; exp to 12 ulps, and Box–Muller's polynomials to 16 of its largest value.
        ready.compare(&adapter, |_, _, _| 64.0 * EPSILON * 40.0);
        let drawn = |step: u32, stream: u32| -> Vec<f64> {
            let elements = rows * width;
            let firsts = (0..elements).step_by(BLOCK);
            let drawn = firsts.flat_map(|first| normals(first, step, stream, seed));
            drawn.take(elements).map(f64::from).collect()
        };
        assert!(ready.agrees(noise, &drawn(77, stream)));
        assert!(!ready.agrees(noise, &drawn(78, stream)));
        assert!(!ready.agrees(noise, &drawn(77, stream + 1)));
        let given = ready.given(q.view);
        let elements = |f: fn(f64, f64, f64) -> f64| -> Vec<f64> {
            let noise = drawn(77, stream);
            let of = |(e, &n): (usize, &f64)| {
                let mean = e / width * 2 * width + e % width;
                f(given[mean], given[mean + width], n)
            };
            noise.iter().enumerate().map(of).collect()
        };
        assert!(ready.agrees(z, &elements(gaussian::definition::sample)));
        // The variance in the place of the standard deviation.
        assert!(!ready.agrees(z, &elements(|mean, log, n| mean + log.exp() * n)));
    }
}

pub fn a_sample_s_gradient_and_its_mean_are_those_of_the_definition() {
    let Some(adapter) = gpu() else { return };
    for [rows, width] in SHAPES {
        let mut test = Case::new(rows * width);
        let q = matrix(&mut test, "q", rows, 2 * width);
        let [noise, dz] = ["noise", "dz"].map(|name| matrix(&mut test, name, rows, width));
        let dq = output(&mut test, "dq", rows, 2 * width);
        let ready = test.finish(SampleBackward { q, noise, dz, dq });
        ready.compare(&adapter, |_, _, expected| 24.0 * EPSILON * expected.abs());
        let [given, noise, dz] = [q, noise, dz].map(|matrix| ready.given(matrix.view));
        let expected = |half: f64| -> Vec<f64> {
            let mut expected = vec![0.0; rows * 2 * width];
            for e in 0..rows * width {
                let mean = e / width * 2 * width + e % width;
                let log = given[mean + width];
                let (d_mean, d_log) = gaussian::definition::sample_backward(log, noise[e], dz[e]);
                (expected[mean], expected[mean + width]) = (d_mean, d_log * half);
            }
            expected
        };
        assert!(ready.agrees(dq.view, &expected(1.0)));
        // Without the half of ½ l.
        assert!(!ready.agrees(dq.view, &expected(2.0)));

        let mut test = Case::new(rows * width);
        let q = matrix(&mut test, "q", rows, 2 * width);
        let z = output(&mut test, "z", rows, width);
        let ready = test.finish(Mean { q, z });
        ready.compare(&adapter, |_, _, _| 0.0);
        let given = ready.given(q.view);
        let of_rows = |first: usize| -> Vec<f64> {
            let rows = given.chunks(2 * width);
            rows.flat_map(|row| row[first..first + width].to_vec())
                .collect()
        };
        assert!(ready.agrees(z.view, &of_rows(0)) && !ready.agrees(z.view, &of_rows(width)));
    }
}

pub fn the_divergence_and_its_gradient_are_those_of_the_definition() {
    let Some(adapter) = gpu() else { return };
    for [rows, width] in SHAPES {
        let mut test = Case::new(rows * width);
        let q = matrix(&mut test, "q", rows, 2 * width);
        let partial = test.output("partial", (rows * width).div_ceil(KL_BLOCK));
        let ready = test.finish(KlPartial { q, partial });
        let terms = KL_BLOCK.min(rows * width) as f64;
        // A term is below 35, and its exponential good to 12 ulps.
        ready.compare(&adapter, |_, _, _| 35.0 * EPSILON * (12.0 * terms));
        let given = ready.given(q.view);
        let pairs: Vec<(f64, f64)> = given
            .chunks(2 * width)
            .flat_map(|row| (0..width).map(|c| (row[c], row[width + c])))
            .collect();
        let sums = |term: fn(f64, f64) -> f64| -> Vec<f64> {
            let blocks = pairs.chunks(KL_BLOCK);
            let sum = |block: &[(f64, f64)]| block.iter().map(|&(m, l)| term(m, l)).sum();
            blocks.map(sum).collect()
        };
        let rounding = |sum: f64| 1e-13 * terms * (1.0 + sum.abs());
        ready.defined_within(partial, &sums(gaussian::definition::kl), rounding);
        let without_log = sums(|mean, log| gaussian::definition::kl(mean, log) + 0.5 * log);
        assert!(!ready.agrees(partial, &without_log));

        let mut test = Case::new(rows * width);
        let q = matrix(&mut test, "q", rows, 2 * width);
        let dq = output(&mut test, "dq", rows, 2 * width);
        let scale = 0.7 / rows as f64;
        let ready = test.finish(KlGradient { q, dq, scale });
        ready.compare(&adapter, |_, _, _| 60.0 * 12.0 * EPSILON * scale);
        let given = ready.given(q.view);
        let gradients = |scale: f64| -> Vec<f64> {
            let rows = given.chunks(2 * width);
            let rows = rows.flat_map(|row| {
                let pair = |c: usize| gaussian::definition::kl_gradient(row[c], row[width + c]);
                let means = (0..width).map(|c| pair(c).0);
                means
                    .chain((0..width).map(|c| pair(c).1))
                    .collect::<Vec<_>>()
            });
            rows.map(|slope| scale * slope).collect()
        };
        assert!(ready.agrees(dq.view, &gradients(scale)));
        assert!(!ready.agrees(dq.view, &gradients(1.01 * scale)));
    }
}

pub fn dropout_drops_what_the_definition_drops_at_that_step_and_no_other() {
    let Some(adapter) = gpu() else { return };
    let (seed, stream) = (5, 11);
    for rate in [0.0, 0.3, 0.9] {
        for len in [1, 3, 63, 64, 65, 4097, 9000] {
            let mut test = Case::new(len);
            let (x, y) = (test.uniform("x", len, 0.5..1.0), test.output("y", len));
            let clock = test.index("clock", vec![3, 77]);
            let ready = test.finish(Dropout {
                x,
                clock,
                y,
                rate,
                seed,
                stream,
            });
            ready.compare(&adapter, |_, _, expected| 3.0 * EPSILON * expected);
            let given = ready.given(x);
            let at = |step: u32| -> Vec<f64> {
                let blocks = (0..len).step_by(BLOCK);
                let words = blocks.flat_map(|first| words(first, step, stream, seed));
                let pairs = given.iter().zip(words);
                pairs
                    .map(|(&x, word)| dropout::definition::dropout(x, rate, word))
                    .collect()
            };
            assert!(ready.agrees(y, &at(77)));
            if rate > 0.0 && len > 60 {
                assert!(!ready.agrees(y, &at(78)), "another step has the same mask");
                let kept = ready.doubles(y).iter().filter(|&&y| y > 0.0).count() as f64;
                // Four standard deviations.
                let [expected, spread] = [1.0 - rate, (rate * (1.0 - rate) / len as f64).sqrt()];
                assert!((kept / len as f64 - expected).abs() < 4.0 * spread);
            }
        }
    }
}

pub fn joined_columns_come_apart_again() {
    let Some(adapter) = gpu() else { return };
    for [rows, cols_a] in SHAPES {
        for cols_b in [1, 7] {
            let mut test = Case::new(rows);
            let a = matrix(&mut test, "a", rows, cols_a);
            let b = matrix(&mut test, "b", rows, cols_b);
            let y = output(&mut test, "y", rows, cols_a + cols_b);
            let ready = test.finish(Join { a, b, y });
            ready.compare(&adapter, |_, _, _| 0.0);
            let [given_a, given_b] = [a, b].map(|matrix| ready.given(matrix.view));
            let pairs = given_a.chunks(cols_a).zip(given_b.chunks(cols_b));
            let joined: Vec<f64> = pairs
                .clone()
                .flat_map(|(a, b)| join::definition::join(a, b))
                .collect();
            assert!(ready.agrees(y.view, &joined));
            let turned: Vec<f64> = pairs
                .flat_map(|(a, b)| join::definition::join(b, a))
                .collect();
            assert!(!ready.agrees(y.view, &turned));

            let mut test = Case::new(rows);
            let y = matrix(&mut test, "y", rows, cols_a + cols_b);
            let a = output(&mut test, "a", rows, cols_a);
            let b = output(&mut test, "b", rows, cols_b);
            let ready = test.finish(Split { y, a, b });
            ready.compare(&adapter, |_, _, _| 0.0);
            let given = ready.given(y.view);
            let rows = given.chunks(cols_a + cols_b);
            let (parts_a, parts_b): (Vec<_>, Vec<_>) =
                rows.map(|row| join::definition::split(row, cols_a)).unzip();
            assert!(ready.agrees(a.view, &parts_a.concat()));
            assert!(ready.agrees(b.view, &parts_b.concat()));
        }
    }
}

pub fn sparsity_and_its_gradients_are_those_of_the_definition() {
    let Some(adapter) = gpu() else { return };
    for [rows, units] in [[1, 1], [3, 10], [129, 33], [64, 1500]] {
        let len = rows * units;
        let mut test = Case::new(len);
        let (h, partial) = (
            test.real("h", len),
            test.output("partial", len.div_ceil(sparsity::BLOCK)),
        );
        let ready = test.finish(L1Partial { h, partial });
        let terms = len.min(sparsity::BLOCK) as f64;
        ready.compare(&adapter, |_, _, sum| 4.0 * EPSILON * terms.sqrt() * sum);
        let given = ready.given(h);
        let blocks = given.chunks(sparsity::BLOCK);
        let sums: Vec<f64> = blocks
            .map(|block| block.iter().map(|&h| sparsity::definition::l1(h)).sum())
            .collect();
        ready.defined_within(partial, &sums, |_| 1e-13 * terms);

        let mut test = Case::new(len);
        let (h, dh) = (test.real("h", len), test.output("dh", len));
        let ready = test.finish(L1Gradient { h, dh, scale: 0.3 });
        ready.compare(&adapter, |_, _, _| EPSILON);
        let given = ready.given(h);
        let slopes: Vec<f64> = given
            .iter()
            .map(|&h| 0.3 * sparsity::definition::l1_slope(h))
            .collect();
        assert!(ready.agrees(dh, &slopes) && !ready.agrees(dh, &given));

        // Means from 0.1 to 0.9.
        let reach = 0.1 * rows as f32..0.9 * rows as f32;
        let target = 0.2;
        let mut test = Case::new(len);
        let sums = test.uniform("sums", units, reach.clone());
        let partial = test.output("partial", units.div_ceil(sparsity::BLOCK));
        let ready = test.finish(MeanPartial {
            sums,
            rows,
            target,
            partial,
        });
        let terms = units.min(sparsity::BLOCK) as f64;
        ready.compare(&adapter, |_, _, _| 40.0 * EPSILON * terms);
        let means: Vec<f64> = ready
            .given(sums)
            .iter()
            .map(|sum| sum / rows as f64)
            .collect();
        let divergences = |target: f64| -> Vec<f64> {
            let term = |&mean: &f64| sparsity::definition::kl(target, mean);
            let blocks = means.chunks(sparsity::BLOCK);
            blocks.map(|block| block.iter().map(term).sum()).collect()
        };
        ready.defined_within(partial, &divergences(target), |_| 1e-13 * terms);
        assert!(!ready.agrees(partial, &divergences(0.21)));

        let mut test = Case::new(len);
        let sums = test.uniform("sums", units, reach);
        let dh = output(&mut test, "dh", rows, units);
        let ready = test.finish(MeanGradient {
            sums,
            target,
            dh,
            weight: 0.7,
        });
        ready.compare(&adapter, |_, _, _| 20.0 * EPSILON * 10.0 / rows as f64);
        let means: Vec<f64> = ready
            .given(sums)
            .iter()
            .map(|sum| sum / rows as f64)
            .collect();
        let slopes = |target: f64| -> Vec<f64> {
            let row = means
                .iter()
                .map(|&m| 0.7 * sparsity::definition::kl_slope(target, m));
            let row: Vec<f64> = row.map(|slope| slope / rows as f64).collect();
            row.repeat(rows)
        };
        assert!(ready.agrees(dh.view, &slopes(target)) && !ready.agrees(dh.view, &slopes(0.21)));
    }
}
