//! Losses, Adam, and the clock that both look things up by.

use diabolo::device::Device;
use diabolo::kernels::adam::{Adam, Hyperparameters};
use diabolo::kernels::clock::Advance;
use diabolo::kernels::loss::{BLOCK, Finish, Gradient, Loss, Partial};
use proptest::prelude::*;
use proptest::sample::select;

use super::bench::{Bench, DOUBLE, compare, single, uniform};
use super::exact::{Exact, ONE, exact, sum};
use super::shapes::side;
use super::{for_all, oracle};

/// Steps of the epoch whose losses there is room for.
const STEPS: usize = 5;

#[derive(Clone, Copy, Debug)]
struct Losses {
    loss: Loss,
    elements: usize,
    reach: f64,
    /// The clock's.
    position: usize,
    seed: u64,
}

fn losses() -> impl Strategy<Value = Losses> {
    let loss = select(vec![Loss::MeanSquaredError, Loss::BinaryCrossEntropy]);
    let elements = prop_oneof![
        side(),
        select(vec![BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
    ];
    let reach = select(vec![1.0, 30.0]);
    (loss, elements, reach, 0..STEPS, 0..1000u64).prop_map(
        |(loss, elements, reach, position, seed)| Losses {
            loss,
            elements,
            reach,
            position,
            seed,
        },
    )
}

#[test]
fn a_loss_is_the_mean_of_its_terms_at_the_clock_s_position_and_its_gradient_their_derivative() {
    for_all(512, losses(), |case| {
        let (loss, elements) = (case.loss, case.elements);
        let logits = uniform(elements, case.seed);
        let y: Vec<f64> = logits.iter().map(|y| single(y * case.reach)).collect();
        let targets = uniform(elements, case.seed + 1);
        let t: Vec<f64> = targets.iter().map(|t| t.abs()).collect();
        let before = uniform(STEPS, case.seed + 2);
        let pairs = || y.iter().zip(&t);
        let count = exact(elements as f64);
        let mut expected: Vec<_> = before.iter().map(|&x| exact(x)).collect();
        expected[case.position] = sum(pairs().map(|(&y, &t)| oracle::loss(loss, y, t))) / count;
        let slopes = pairs().map(|(&y, &t)| oracle::loss_slope(loss, y, t) / count);
        let slopes: Vec<_> = slopes.collect();

        let mut bench = Bench::new();
        let (y, target, losses) = (bench.given(&y), bench.given(&t), bench.given(&before));
        let clock = bench.indices(&[case.position as u32, 77]);
        let partial = bench.output(elements.div_ceil(BLOCK));
        let dy = bench.output(elements);
        bench.launch(Partial {
            y,
            target,
            partial,
            loss,
        });
        bench.launch(Finish {
            partial,
            divisor: elements as f64,
            clock,
            note: losses,
        });
        bench.launch(Gradient {
            y,
            target,
            dy,
            loss,
            divisor: elements as f64,
        });
        bench.check(&[("losses", losses, &expected), ("dy", dy, &slopes)])
    });
}

#[derive(Clone, Copy, Debug)]
struct Descent {
    parameters: usize,
    steps: usize,
    alpha: f64,
    hyper: Hyperparameters,
    seed: u64,
}

fn descent() -> impl Strategy<Value = Descent> {
    let hyper = (
        select(vec![0.0, 0.5, 0.9]),
        select(vec![0.9, 0.99, 0.999]),
        select(vec![1e-8, 1e-3, 1.0]),
    );
    let alpha = select(vec![1e-3, 0.1]);
    (side(), 1..=6usize, alpha, hyper, 0..1000u64).prop_map(
        |(parameters, steps, alpha, (beta1, beta2, epsilon), seed)| Descent {
            parameters,
            steps,
            alpha,
            hyper: Hyperparameters {
                beta1,
                beta2,
                epsilon,
                weight_decay: 0.0,
            },
            seed,
        },
    )
}

#[test]
fn adam_s_steps_are_kingma_and_ba_s() {
    for_all(512, descent(), |case| {
        let (len, hyper) = (case.parameters, case.hyper);
        let start = uniform(len, case.seed);
        let gradients: Vec<_> = (1..=case.steps as u64)
            .map(|step| uniform(len, 1000 * step + case.seed))
            .collect();
        let after: Vec<_> = (0..len)
            .map(|i| {
                let gradients: Vec<f64> = gradients.iter().map(|g| g[i]).collect();
                oracle::adam(&hyper, case.alpha, start[i], &gradients)
            })
            .collect();
        let [p, m, v] = [0, 1, 2].map(|i| after.iter().map(|all| all[i]).collect::<Vec<_>>());

        let mut bench = Bench::new();
        let row = |t| {
            let [c1, c2] = [hyper.beta1, hyper.beta2].map(|b| oracle::bias_correction(b, t));
            [case.alpha / c1, 1.0 / c2.sqrt(), 1.0]
        };
        let schedule = bench.given(&(1..=case.steps).flat_map(row).collect::<Vec<_>>());
        let clock = bench.indices(&[0, 0]);
        let parameters = bench.given(&start);
        let [mean, variance] = [bench.given(&vec![0.0; len]), bench.given(&vec![0.0; len])];
        for gradients in &gradients {
            let gradients = bench.given(gradients);
            bench.launch(Adam {
                parameters,
                gradients,
                mean,
                variance,
                schedule,
                clock,
                hyper,
                ends: vec![len / 3, len],
            });
            bench.launch(Advance { clock });
        }
        bench.check(&[("p", parameters, &p), ("m", mean, &m), ("v", variance, &v)])
    });
}

#[test]
fn the_schedule_holds_the_rate_and_both_bias_corrections() {
    for_all(256, (descent(), 1..1000usize), |(case, t)| {
        // β is rounded once, βᵗ in each product; the bound is relative to 1, which it is taken from.
        let correction = |beta: f64| Exact {
            value: oracle::bias_correction(beta, t),
            slack: t as f64,
        };
        let [c1, c2] = [case.hyper.beta1, case.hyper.beta2].map(correction);
        let expected = [exact(case.alpha) / c1, ONE / c2.sqrt(), ONE];
        let row = case.hyper.schedule_row(t as u64, case.alpha);
        compare("schedule", &row, &expected, 2.0 * DOUBLE)
    });
}

#[test]
fn the_clock_counts_launches() {
    let start = prop_oneof![0..1000u32, select(vec![u32::MAX - 3, u32::MAX])];
    for_all(256, (start, 0..9u32), |(start, ticks)| {
        let mut bench = Bench::new();
        let clock = bench.indices(&[start, 41]);
        for _ in 0..ticks {
            bench.launch(Advance { clock });
        }
        let after = bench.run::<f32>().read_index(clock).expect("readable");
        prop_assert_eq!(after, [start.wrapping_add(ticks), 41 + ticks]);
        Ok(())
    });
}
