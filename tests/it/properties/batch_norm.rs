//! Batch norm, forward and backward, from its definition alone.

use diabolo::buffer::View;
use diabolo::kernels::Activation;
use proptest::prelude::*;
use proptest::sample::select;

use super::bench::{Bench, single, uniform};
use super::emit::{self, Norm};
use super::exact::{Exact, ONE, exact, rounded, sum};
use super::shapes::{Shape, activation, shape};
use super::{for_all, oracle};

/// A batch of numbers about `offset`, at most `scale` from it: down to where ε is what counts.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    pub shape: Shape,
    pub offset: f64,
    pub scale: f64,
    pub activation: Activation,
}

/// Of two rows at least: one has no unbiased variance.
pub fn batch() -> impl Strategy<Value = Batch> {
    let shape = shape().prop_filter("has a variance", |shape| shape.rows > 1);
    let offset = select(vec![0.0, 0.5, 3.0]);
    let scale = select(vec![1.0, 10.0, 0.01, 0.001]);
    (shape, offset, scale, activation()).prop_map(|(shape, offset, scale, activation)| Batch {
        shape,
        offset,
        scale,
        activation,
    })
}

/// Values of the operands.
pub struct Values {
    pub x: Vec<f64>,
    pub dy: Vec<f64>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub running_mean: Vec<f64>,
    pub running_var: Vec<f64>,
}

impl Batch {
    pub fn values(&self) -> Values {
        let (shape, seed) = (self.shape, 9 * self.shape.seed);
        let place = |u: f64| single(self.offset + self.scale * u);
        let variance = |u: f64| single(self.scale * self.scale * (u.abs() + 0.1));
        let column = |stream| uniform(shape.cols, seed + stream);
        Values {
            x: uniform(shape.len(), seed).into_iter().map(place).collect(),
            dy: uniform(shape.len(), seed + 1),
            gamma: column(2),
            beta: column(3),
            running_mean: column(4).into_iter().map(place).collect(),
            running_var: column(5).into_iter().map(variance).collect(),
        }
    }
}

impl Values {
    /// x and the parameters.
    pub fn load(&self, bench: &mut Bench, activation: Activation) -> (View, Norm) {
        let norm = Norm {
            gamma: bench.given(&self.gamma),
            beta: bench.given(&self.beta),
            running_mean: bench.given(&self.running_mean),
            running_var: bench.given(&self.running_var),
            activation,
        };
        (bench.given(&self.x), norm)
    }
}

/// One column of what batch norm makes of a batch.
pub struct Column {
    pub var: Exact,
    normalised: Vec<Exact>,
    /// γ x̂ + β
    before: Vec<Exact>,
    inv_std: Exact,
    running: [Exact; 2],
}

impl Column {
    fn of(values: &Values, shape: Shape, c: usize, training: bool) -> Column {
        let x: Vec<Exact> = values
            .x
            .iter()
            .skip(c)
            .step_by(shape.cols)
            .map(|&x| exact(x))
            .collect();
        let n = exact(shape.rows as f64);
        let old = [values.running_mean[c], values.running_var[c]].map(exact);
        let ([mean, var], running) = if training {
            let mean = sum(x.iter().copied()) / n;
            let var = sum(x.iter().map(|&x| (x - mean) * (x - mean))) / n;
            let unbiased = var * n / (n - ONE);
            let [mean_now, var_now] = [(old[0], mean), (old[1], unbiased)]
                .map(|(old, new)| rounded(0.9) * old + rounded(0.1) * new);
            ([mean, var], [mean_now, var_now])
        } else {
            (old, old)
        };
        let inv_std = ONE / (var + rounded(1e-5)).sqrt();
        let normalised: Vec<_> = x.iter().map(|&x| (x - mean) * inv_std).collect();
        let (gamma, beta) = (exact(values.gamma[c]), exact(values.beta[c]));
        let before = normalised.iter().map(|&x| gamma * x + beta).collect();
        Column {
            var,
            normalised,
            before,
            inv_std,
            running,
        }
    }
}

/// `[N, C]` from its columns.
fn rows(columns: &[Vec<Exact>]) -> Vec<Exact> {
    let rows = columns[0].len();
    (0..rows)
        .flat_map(|row| columns.iter().map(move |column| column[row]))
        .collect()
}

pub fn columns(batch: &Batch, values: &Values, training: bool) -> Vec<Column> {
    let column = |c| Column::of(values, batch.shape, c, training);
    (0..batch.shape.cols).map(column).collect()
}

pub fn outputs(batch: &Batch, columns: &[Column]) -> Vec<Exact> {
    let activate = |&x: &Exact| oracle::activate(batch.activation, x);
    let columns = columns
        .iter()
        .map(|column| column.before.iter().map(activate).collect());
    rows(&columns.collect::<Vec<_>>())
}

#[test]
fn training_normalises_by_the_batch_and_moves_the_running_statistics_towards_it() {
    for_all(512, batch(), |batch| {
        let values = batch.values();
        let columns = columns(&batch, &values, true);
        let expected = outputs(&batch, &columns);
        let [running_mean, running_var] = [0, 1].map(|i| {
            columns
                .iter()
                .map(|column| column.running[i])
                .collect::<Vec<_>>()
        });

        let mut bench = Bench::new();
        let (x, norm) = values.load(&mut bench, batch.activation);
        let saved = emit::batch_norm(&mut bench, batch.shape, x, norm, true);
        bench.check(&[
            ("y", saved.y.view, &expected),
            ("running_mean", norm.running_mean, &running_mean),
            ("running_var", norm.running_var, &running_var),
        ])
    });
}

#[test]
fn evaluation_normalises_by_the_running_statistics() {
    for_all(256, batch(), |batch| {
        let values = batch.values();
        let expected = outputs(&batch, &columns(&batch, &values, false));
        let mut bench = Bench::new();
        let (x, norm) = values.load(&mut bench, batch.activation);
        let saved = emit::batch_norm(&mut bench, batch.shape, x, norm, false);
        bench.check(&[("y", saved.y.view, &expected)])
    });
}

/// dγ, dβ and dx of a column, by the Jacobian
/// ∂x̂ⱼ/∂xᵢ = (δᵢⱼ − 1/N − x̂ᵢ x̂ⱼ/N) · inv_std.
fn column_gradients(column: &Column, gamma: f64, g: &[Exact]) -> (Exact, Exact, Vec<Exact>) {
    let n = exact(g.len() as f64);
    let pairs = || g.iter().zip(&column.normalised);
    let d_gamma = sum(pairs().map(|(&g, &x)| g * x));
    let d_beta = sum(g.iter().copied());
    let dx = pairs().map(|(&own, &x)| {
        let others = pairs().flat_map(|(&g, &other)| [-g / n, -(g * other * x) / n]);
        exact(gamma) * column.inv_std * sum([own].into_iter().chain(others))
    });
    (d_gamma, d_beta, dx.collect())
}

#[test]
fn the_gradients_are_the_jacobian_s() {
    for_all(256, batch(), |batch| {
        let (values, cols) = (batch.values(), batch.shape.cols);
        let columns = columns(&batch, &values, true);
        let gradients: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(c, column)| {
                let dy = values.dy.iter().skip(c).step_by(cols);
                let pairs = dy.zip(&column.before);
                let g: Vec<_> = pairs
                    .map(|(&dy, &x)| exact(dy) * oracle::slope(batch.activation, x))
                    .collect();
                column_gradients(column, values.gamma[c], &g)
            })
            .collect();
        let gammas: Vec<_> = gradients.iter().map(|(d_gamma, ..)| *d_gamma).collect();
        let betas: Vec<_> = gradients.iter().map(|(_, d_beta, _)| *d_beta).collect();
        let dx: Vec<_> = gradients.into_iter().map(|(.., dx)| dx).collect();
        let expected = rows(&dx);

        let mut bench = Bench::new();
        let (x, norm) = values.load(&mut bench, batch.activation);
        let dy = bench.given(&values.dy);
        let saved = emit::batch_norm(&mut bench, batch.shape, x, norm, true);
        let [d_gamma, d_beta, dx] = emit::batch_norm_backward(&mut bench, saved, norm.gamma, dy);
        bench.check(&[
            ("dγ", d_gamma, &gammas),
            ("dβ", d_beta, &betas),
            ("dx", dx, &expected),
        ])
    });
}
