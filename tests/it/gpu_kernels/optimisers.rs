//! Optimisers and clipping: the CPU in f64 against each room's definition over several steps, and every
//! device against the CPU in f64. Each comparison with a definition is also made with a mistaken one.

use diabolo::kernels::adam::{self, Adam};
use diabolo::kernels::norm_clip;
use diabolo::kernels::sgd::{self, Sgd};

use super::EPSILON;
use super::harness::{Case, Ready, gpu};

const SIZES: [usize; 6] = [1, 31, 33, 127, 129, 70_000];

/// One step of AdamW on values of f32, at position 1 of a schedule.
fn adam(len: usize, hyper: adam::Hyperparameters) -> (Ready, Adam) {
    let mut test = Case::new(len);
    let rows = (1..=2).flat_map(|t| hyper.schedule_row(t, 1e-2));
    let schedule: Vec<f32> = rows.map(|x| x as f32).collect();
    let view = test.real("schedule", schedule.len());
    test.reals.last_mut().expect("just given").1 = schedule;
    let kernel = Adam {
        parameters: test.real("p", len),
        gradients: test.real("g", len),
        mean: test.real("m", len),
        variance: test.uniform("v", len, 0.01..1.0),
        schedule: view,
        clock: test.index("clock", vec![1, 1]),
        hyper,
        ends: vec![len / 3, len],
    };
    (test.finish(kernel.clone()), kernel)
}

pub fn a_step_of_adam_with_and_without_decay_is_its_definition() {
    let Some(adapter) = gpu() else { return };
    for weight_decay in [0.0, 0.1] {
        let hyper = adam::Hyperparameters {
            weight_decay,
            ..adam::Hyperparameters::default()
        };
        for len in SIZES {
            let (ready, kernel) = adam(len, hyper);
            ready.compare(&adapter, |_, _, _| 8.0 * EPSILON);
            let views = [kernel.parameters, kernel.mean, kernel.variance];
            let [p, m, v] = views.map(|view| ready.given(view));
            let g = ready.given(kernel.gradients);
            let expected = |coupled: f64| -> Vec<f64> {
                let hyper = adam::Hyperparameters {
                    weight_decay: if coupled > 0.0 { 0.0 } else { weight_decay },
                    ..hyper
                };
                let after = (0..len).map(|i| {
                    let (mut p, mut m, mut v) = (p[i], m[i], v[i]);
                    let g = g[i] + coupled * p;
                    adam::definition::step(&hyper, 2, 1e-2, g, [&mut p, &mut m, &mut v]);
                    p
                });
                after.collect()
            };
            // The schedule's numbers were rounded to f32: the largest is below 1, and p below 1.1.
            let close = |expected: &[f64]| {
                let got = ready.doubles(kernel.parameters);
                got.iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() <= 2.0 * EPSILON)
            };
            ready.defined_within(kernel.parameters, &expected(0.0), |_| 2.0 * EPSILON);
            // A decay that goes through the gradient, as in Adam with L2.
            assert!(weight_decay == 0.0 || !close(&expected(weight_decay)));
        }
    }
}

pub fn steps_of_gradient_descent_are_their_definition() {
    let Some(adapter) = gpu() else { return };
    for (momentum, nesterov, weight_decay) in [
        (0.0, false, 0.0),
        (0.9, false, 0.0),
        (0.9, true, 0.0),
        (0.5, true, 0.1),
    ] {
        let hyper = sgd::Hyperparameters {
            momentum,
            nesterov,
            weight_decay,
        };
        for len in SIZES {
            let mut test = Case::new(len);
            let kernel = Sgd {
                parameters: test.real("p", len),
                gradients: test.real("g", len),
                velocity: test.real("v", len),
                schedule: test.uniform("schedule", 3, 0.01..0.2),
                clock: test.index("clock", vec![2, 7]),
                hyper,
                ends: vec![len / 3, len],
            };
            let ready = test.finish(kernel.clone());
            ready.compare(&adapter, |_, _, _| 8.0 * EPSILON);
            let views = [kernel.parameters, kernel.gradients, kernel.velocity];
            let [p, g, v] = views.map(|view| ready.given(view));
            let rate = ready.given(kernel.schedule)[2];
            let expected = |hyper: &sgd::Hyperparameters| -> Vec<f64> {
                let after = (0..len).map(|i| {
                    let (mut p, mut v) = (p[i], v[i]);
                    sgd::definition::step(hyper, rate, g[i], [&mut p, &mut v]);
                    p
                });
                after.collect()
            };
            assert!(ready.agrees(kernel.parameters, &expected(&hyper)));
            // Momentum that does not look ahead, or does.
            let mistaken = sgd::Hyperparameters {
                nesterov: !nesterov,
                ..hyper
            };
            assert!(momentum == 0.0 || !ready.agrees(kernel.parameters, &expected(&mistaken)));
        }
    }
}

pub fn gradients_are_clipped_by_the_norm_of_all_of_them() {
    let Some(adapter) = gpu() else { return };
    for len in [1_usize, 100, 4096, 4097, 70_000] {
        let blocks = len.div_ceil(norm_clip::BLOCK);
        let mut test = Case::new(len);
        let (gradients, partial) = (test.real("g", len), test.output("partial", blocks));
        let ready = test.finish(norm_clip::Partial { gradients, partial });
        let terms = len.min(norm_clip::BLOCK) as f64;
        ready.compare(&adapter, |_, _, sum| {
            4.0 * EPSILON * (terms.sqrt() * sum + 1.0)
        });
        let given = ready.given(gradients);
        let squares = given.chunks(norm_clip::BLOCK);
        let squares: Vec<f64> = squares
            .map(|block| block.iter().map(|g| g * g).sum())
            .collect();
        assert!(ready.agrees(partial, &squares));
        let sum: f64 = squares.iter().sum();

        for limit in [0.5 * sum.sqrt(), 2.0 * sum.sqrt()] {
            let mut test = Case::new(len);
            let kernel = norm_clip::Finish {
                partial: test.uniform("partial", blocks, 0.5..1.0),
                limit,
                norm: test.output("norm", 1),
                factor: test.output("factor", 1),
            };
            let ready = test.finish(kernel.clone());
            ready.compare(&adapter, |_, _, value| 16.0 * EPSILON * value);
            let norm = ready.given(kernel.partial).iter().sum::<f64>().sqrt();
            assert!(ready.agrees(kernel.norm, &[norm]));
            assert!(ready.agrees(kernel.factor, &[(limit / (norm + 1e-6)).min(1.0)]));
            // What the definition does with all gradients: a factor.
            let mut one = [norm];
            norm_clip::definition::clip(&mut one, limit);
            assert!(ready.agrees(kernel.factor, &[one[0] / norm]));
        }

        let mut test = Case::new(len);
        let (factor, gradients) = (test.uniform("factor", 1, 0.1..0.9), test.real("g", len));
        let ready = test.finish(norm_clip::Scale { gradients, factor });
        ready.compare(&adapter, |_, _, value| EPSILON * value.abs());
        let factor = ready.given(factor)[0];
        let given = ready.given(gradients);
        let scaled: Vec<f64> = given.iter().map(|g| factor * g).collect();
        assert!(ready.agrees(gradients, &scaled) && !ready.agrees(gradients, &given));
    }
}

pub fn a_norm_that_is_no_number_is_not_hidden() {
    let mut test = Case::new(1);
    let kernel = norm_clip::Finish {
        partial: test.real("partial", 2),
        limit: 1.0,
        norm: test.output("norm", 1),
        factor: test.output("factor", 1),
    };

    for (view, values) in &mut test.reals {
        if *view == kernel.partial {
            values[0] = f32::NAN;
        }
    }
    let factor = kernel.factor;
    assert!(test.finish(kernel).doubles(factor)[0].is_nan());
}
