//! Kernels as functions from operands to results: what the tests of this folder launch.

use diabolo::buffer::{Matrix, View};
use diabolo::gradcheck::Geometry;
use diabolo::kernels::Activation;
use diabolo::kernels::activation;
use diabolo::kernels::batch_norm::{self, Normaliser, partial_len};
use diabolo::kernels::column_sum::{ColumnSumFinish, ColumnSumPartial, blocks};
use diabolo::kernels::convolution::{Convolve, DataGradient, WeightGradient, weight_blocks};
use diabolo::kernels::gemm::Gemm;
use diabolo::kernels::pool::{AveragePool, AveragePoolBackward, MaxPool, MaxPoolBackward};
use diabolo::kernels::upsample::{Enlargement, Upsample, UpsampleBackward};

use super::bench::Bench;
use super::shapes::Shape;

/// What follows a product.
pub type Epilogue = (Option<View>, Activation);

pub const PLAIN: Epilogue = (None, Activation::Identity);

fn output(bench: &mut Bench, rows: usize, cols: usize) -> Matrix {
    bench.output(rows * cols).matrix(rows, cols)
}

/// op(a) · op(b); a factor with its flag is stored transposed.
pub fn gemm(
    bench: &mut Bench,
    [m, k, n]: [usize; 3],
    (a, transpose_a): (View, bool),
    (b, transpose_b): (View, bool),
    (bias, activation): Epilogue,
) -> View {
    let stored = |view: View, transposed: bool, [rows, cols]: [usize; 2]| match transposed {
        true => view.matrix(cols, rows),
        false => view.matrix(rows, cols),
    };
    let y = output(bench, m, n);
    bench.launch(Gemm {
        a: stored(a, transpose_a, [m, k]),
        b: stored(b, transpose_b, [k, n]),
        transpose_a,
        transpose_b,
        bias,
        activation,
        y,
    });
    y.view
}

/// The blocks' sums, and theirs.
pub fn column_sum(bench: &mut Bench, x: Matrix) -> View {
    let partial = output(bench, blocks(x.rows), x.cols);
    let view = partial.view;
    bench.launch(ColumnSumPartial { x, partial: view });
    let sum = bench.output(x.cols);
    bench.launch(ColumnSumFinish { partial, sum });
    sum
}

/// Elements of a convolution's weight.
pub fn weight_len(geometry: &Geometry) -> usize {
    geometry.window.taps() * geometry.channels * geometry.maps
}

fn weights(geometry: &Geometry, view: View) -> Matrix {
    view.matrix(geometry.window.taps() * geometry.channels, geometry.maps)
}

/// The larger side, with its channels.
fn large(geometry: &Geometry, view: View) -> Matrix {
    view.matrix(geometry.rows()[0], geometry.channels)
}

/// The smaller side, with maps or, of a pooling, channels.
fn small(geometry: &Geometry, view: View, cols: usize) -> Matrix {
    view.matrix(geometry.rows()[1], cols)
}

pub fn convolve(
    bench: &mut Bench,
    geometry: &Geometry,
    x: View,
    weight: View,
    (bias, activation): Epilogue,
) -> View {
    let y = output(bench, geometry.rows()[1], geometry.maps);
    bench.launch(Convolve {
        window: geometry.window,
        x: large(geometry, x),
        weight: weights(geometry, weight),
        bias,
        activation,
        y,
    });
    y.view
}

pub fn data_gradient(
    bench: &mut Bench,
    geometry: &Geometry,
    dy: View,
    weight: View,
    (bias, activation): Epilogue,
) -> View {
    let dx = output(bench, geometry.rows()[0], geometry.channels);
    bench.launch(DataGradient {
        window: geometry.window,
        dy: small(geometry, dy, geometry.maps),
        weight: weights(geometry, weight),
        bias,
        activation,
        dx,
    });
    dx.view
}

pub fn weight_gradient(bench: &mut Bench, geometry: &Geometry, x: View, dy: View) -> View {
    let len = weight_len(geometry);
    let partial = output(bench, weight_blocks(geometry.rows()[1], len), len);
    bench.launch(WeightGradient {
        window: geometry.window,
        x: large(geometry, x),
        dy: small(geometry, dy, geometry.maps),
        partial,
    });
    let sum = bench.output(len);
    bench.launch(ColumnSumFinish { partial, sum });
    sum
}

/// Maxima and their taps.
pub fn max_pool(bench: &mut Bench, geometry: &Geometry, x: View) -> [View; 2] {
    let y = output(bench, geometry.rows()[1], geometry.channels);
    let argmax = bench.indices(&vec![u32::MAX; y.view.len]);
    bench.launch(MaxPool {
        window: geometry.window,
        x: large(geometry, x),
        y,
        argmax,
    });
    [y.view, argmax]
}

pub fn max_pool_backward(bench: &mut Bench, geometry: &Geometry, argmax: View, dy: View) -> View {
    let dx = output(bench, geometry.rows()[0], geometry.channels);
    bench.launch(MaxPoolBackward {
        window: geometry.window,
        argmax,
        dy: small(geometry, dy, geometry.channels),
        dx,
    });
    dx.view
}

pub fn average_pool(bench: &mut Bench, geometry: &Geometry, x: View) -> View {
    let y = output(bench, geometry.rows()[1], geometry.channels);
    let (window, x) = (geometry.window, large(geometry, x));
    bench.launch(AveragePool { window, x, y });
    y.view
}

pub fn average_pool_backward(bench: &mut Bench, geometry: &Geometry, dy: View) -> View {
    let dx = output(bench, geometry.rows()[0], geometry.channels);
    let (window, dy) = (geometry.window, small(geometry, dy, geometry.channels));
    bench.launch(AveragePoolBackward { window, dy, dx });
    dx.view
}

pub fn upsample(bench: &mut Bench, enlargement: Enlargement, cols: usize, x: View) -> View {
    let rows = x.len / cols;
    let [down, across] = enlargement.factor;
    let y = output(bench, rows * down * across, cols);
    let x = x.matrix(rows, cols);
    bench.launch(Upsample { enlargement, x, y });
    y.view
}

pub fn upsample_backward(
    bench: &mut Bench,
    enlargement: Enlargement,
    cols: usize,
    dy: View,
) -> View {
    let rows = dy.len / cols;
    let [down, across] = enlargement.factor;
    let dx = output(bench, rows / (down * across), cols);
    let dy = dy.matrix(rows, cols);
    bench.launch(UpsampleBackward {
        enlargement,
        dy,
        dx,
    });
    dx.view
}

pub fn activate(bench: &mut Bench, activation: Activation, x: View) -> View {
    let y = bench.output(x.len);
    bench.launch(activation::Forward { x, y, activation });
    y
}

pub fn activate_backward(bench: &mut Bench, activation: Activation, y: View, dy: View) -> View {
    let dx = bench.output(y.len);
    bench.launch(activation::Backward {
        saved: y,
        dy,
        dx,
        activation,
    });
    dx
}

/// γ, β and the running mean and variance of a batch norm.
#[derive(Clone, Copy)]
pub struct Norm {
    pub gamma: View,
    pub beta: View,
    pub running_mean: View,
    pub running_var: View,
    pub activation: Activation,
}

/// The statistics and the result, of the batch in training and the running ones in evaluation.
pub fn batch_norm(
    bench: &mut Bench,
    shape: Shape,
    x: View,
    norm: Norm,
    training: bool,
) -> batch_norm::Saved {
    let Shape { rows, cols, .. } = shape;
    let x = x.matrix(rows, cols);
    let Norm {
        running_mean,
        running_var,
        ..
    } = norm;
    let normaliser = Normaliser {
        mean: bench.output(cols),
        inv_std: bench.output(cols),
    };
    if training {
        let partial = bench.output(partial_len(rows, cols));
        bench.launch(batch_norm::Moments { x, partial });
        bench.launch(batch_norm::Statistics {
            partial,
            rows,
            normaliser,
            running_mean,
            running_var,
        });
    } else {
        bench.launch(batch_norm::Evaluate {
            running_mean,
            running_var,
            normaliser,
        });
    }
    let y = output(bench, rows, cols);
    bench.launch(batch_norm::Apply {
        x,
        normaliser,
        gamma: norm.gamma,
        beta: norm.beta,
        y,
        activation: norm.activation,
    });
    batch_norm::Saved {
        x,
        y,
        normaliser,
        activation: norm.activation,
    }
}

/// dγ, dβ and dx, which takes the place of dy.
pub fn batch_norm_backward(
    bench: &mut Bench,
    saved: batch_norm::Saved,
    gamma: View,
    dy: View,
) -> [View; 3] {
    let Matrix { rows, cols, .. } = saved.x;
    let dy = dy.matrix(rows, cols);
    let partial = bench.output(partial_len(rows, cols));
    bench.launch(batch_norm::BackwardPartial { saved, dy, partial });
    let [d_gamma, d_beta] = [bench.output(cols), bench.output(cols)];
    bench.launch(batch_norm::BackwardFinish {
        partial,
        d_gamma,
        d_beta,
    });
    bench.launch(batch_norm::BackwardApply {
        saved,
        gamma,
        d_gamma,
        d_beta,
        gradient: dy,
    });
    [d_gamma, d_beta, dy.view]
}
