//! The definition: one channel at a time, in f64; the activation's own definition follows.

use super::{EPSILON, MOMENTUM};

/// Mean of some rows, and the sum of squared deviations from it.
pub fn moments(x: &[f64]) -> (f64, f64) {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let squares = x.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, squares)
}

/// The moments of all rows, from (rows, mean, squares) of each block.
pub fn combined(blocks: &[(usize, f64, f64)]) -> (f64, f64) {
    let rows: usize = blocks.iter().map(|block| block.0).sum();
    let weighted = blocks.iter().map(|&(rows, mean, _)| rows as f64 * mean);
    let total = weighted.sum::<f64>() / rows as f64;
    let squares = blocks
        .iter()
        .map(|&(rows, mean, squares)| squares + rows as f64 * (mean - total) * (mean - total));
    (total, squares.sum())
}

/// inv_std, of a variance.
pub fn inv_std(variance: f64) -> f64 {
    1.0 / (variance + EPSILON).sqrt()
}

/// A running estimate after a batch.
pub fn running(estimate: f64, of_batch: f64) -> f64 {
    (1.0 - MOMENTUM) * estimate + MOMENTUM * of_batch
}

/// γ x̂ + β
pub fn normalised(x: f64, [mean, inv_std]: [f64; 2], [gamma, beta]: [f64; 2]) -> f64 {
    gamma * (x - mean) * inv_std + beta
}

/// dβ and dγ, of g = dy · f′ and of x.
pub fn sums(g: &[f64], x: &[f64], [mean, inv_std]: [f64; 2]) -> (f64, f64) {
    let d_beta = g.iter().sum();
    let d_gamma = g.iter().zip(x).map(|(g, x)| g * (x - mean) * inv_std);
    (d_beta, d_gamma.sum())
}

/// dx, of one of N rows.
pub fn backward(
    g: f64,
    x: f64,
    rows: usize,
    [mean, inv_std]: [f64; 2],
    gamma: f64,
    [d_beta, d_gamma]: [f64; 2],
) -> f64 {
    let normalised = (x - mean) * inv_std;
    gamma * inv_std * (g - (d_beta + normalised * d_gamma) / rows as f64)
}
