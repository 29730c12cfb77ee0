//! Products, column sums, activations.

use diabolo::buffer::View;
use diabolo::kernels::gemm_ladder::Rung;
use diabolo::kernels::{Activation, Kernel};
use proptest::prelude::*;
use proptest::sample::select;

use super::bench::{Bench, single, uniform};
use super::exact::exact;
use super::shapes::{activation, shape, side};
use super::{emit, for_all, oracle};

#[derive(Clone, Copy, Debug)]
struct Product {
    m: usize,
    k: usize,
    n: usize,
    transpose_a: bool,
    transpose_b: bool,
    bias: bool,
    activation: Activation,
    seed: u64,
}

fn product() -> impl Strategy<Value = Product> {
    // Beyond the 256 terms that are summed at a time.
    let depth = prop_oneof![9 => side(), 1 => select(vec![257, 513])];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (side(), depth, side(), flags, activation(), 0..1000u64).prop_map(
        |(m, k, n, (transpose_a, transpose_b, bias), activation, seed)| Product {
            m,
            k,
            n,
            transpose_a,
            transpose_b,
            bias,
            activation,
            seed,
        },
    )
}

#[test]
fn gemm_is_the_sum_of_products_in_every_transpose_case() {
    for_all(512, product(), |case| {
        let Product { m, k, n, .. } = case;
        let (ta, tb) = (case.transpose_a, case.transpose_b);
        let [a, b, bias] = [(0, m * k), (1, k * n), (2, n)]
            .map(|(stream, len)| uniform(len, 3 * case.seed + stream));
        let bias = case.bias.then_some(bias);
        let products = oracle::product(
            [m, k, n],
            |i, p| a[if ta { p * m + i } else { i * k + p }],
            |p, j| b[if tb { j * k + p } else { p * n + j }],
        );
        let expected = oracle::epilogue(&products, bias.as_deref(), case.activation);

        let mut bench = Bench::new();
        let (a, b) = (bench.given(&a), bench.given(&b));
        let epilogue = (bias.map(|bias| bench.given(&bias)), case.activation);
        let y = emit::gemm(&mut bench, [m, k, n], (a, ta), (b, tb), epilogue);
        bench.check(&[("y", y, &expected)])
    });
}

/// The product by one rung of the ladder.
fn climb<const N: usize>(bench: &mut Bench, [m, k, n]: [usize; 3], [a, b]: [View; 2]) -> View
where
    Rung<N>: Kernel,
{
    let y = bench.output(m * n);
    bench.launch(Rung::<N> {
        a: a.matrix(m, k),
        b: b.matrix(k, n),
        y: y.matrix(m, n),
    });
    y
}

#[test]
fn every_rung_of_the_ladder_is_the_sum_of_products() {
    // Beyond the 512 columns that are packed at a time.
    let cols = prop_oneof![9 => side(), 1 => select(vec![513, 545])];
    for_all(128, (product(), cols), |(case, n)| {
        let Product { m, k, seed, .. } = case;
        let [a, b] = [(0, m * k), (1, k * n)].map(|(stream, len)| uniform(len, 2 * seed + stream));
        let expected = oracle::product([m, k, n], |i, p| a[i * k + p], |p, j| b[p * n + j]);
        let mut bench = Bench::new();
        let factors = [bench.given(&a), bench.given(&b)];
        let rungs = [climb::<0>, climb::<1>, climb::<2>, climb::<3>, climb::<4>];
        let outputs = rungs.map(|climb| climb(&mut bench, [m, k, n], factors));
        for (rung, y) in outputs.into_iter().enumerate() {
            bench.check(&[(&format!("y of rung {rung}"), y, &expected)])?;
        }
        Ok(())
    });
}

#[test]
fn column_sums_add_up_every_row() {
    for_all(256, shape(), |shape| {
        let x = uniform(shape.len(), shape.seed);
        let expected = oracle::column_sum(shape.cols, &x);
        let mut bench = Bench::new();
        let x = bench.given(&x).matrix(shape.rows, shape.cols);
        let sum = emit::column_sum(&mut bench, x);
        bench.check(&[("sum", sum, &expected)])
    });
}

#[test]
fn an_activation_and_its_slope_are_those_of_the_textbook() {
    let reach = select(vec![1.0, 10.0, 80.0, 1e-3]);
    for_all(512, (shape(), activation(), reach), |(shape, f, reach)| {
        let mut x = uniform(shape.len(), shape.seed);
        x.iter_mut().for_each(|x| *x = single(*x * reach));
        // The kink itself.
        x[0] = 0.0;
        let dy = uniform(x.len(), shape.seed + 1);
        let values = x.iter().map(|&x| oracle::activate(f, exact(x)));
        let slopes = x.iter().map(|&x| oracle::slope(f, exact(x)));
        let values: Vec<_> = values.collect();
        let gradients: Vec<_> = slopes.zip(&dy).map(|(s, &dy)| exact(dy) * s).collect();

        let mut bench = Bench::new();
        let (x, dy) = (bench.given(&x), bench.given(&dy));
        let y = emit::activate(&mut bench, f, x);
        let dx = emit::activate_backward(&mut bench, f, y, dy);
        bench.check(&[("y", y, &values), ("dx", dx, &gradients)])
    });
}
