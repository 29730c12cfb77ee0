// Batch norm backward, last pass. See src/kernels/batch_norm.rs.
//
//   dx = γ inv_std (g − (dβ + x̂ dγ) / N)      g = dy · f′(y),  x̂ = (x − mean) · inv_std
//
// One thread per element: dispatch ⌈N C / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> inv_std: array<f32>;
@group(0) @binding(5) var<storage, read> gamma: array<f32>;
@group(0) @binding(6) var<storage, read> d_gamma: array<f32>;
@group(0) @binding(7) var<storage, read> d_beta: array<f32>;
@group(0) @binding(8) var<storage, read_write> gradient: array<f32>; // dy, then dx

fn element(i: u32) {
    if i >= dims.rows * dims.cols {
        return;
    }
    let col = i % dims.cols;
    let g = gradient[i] * slope(y[i]);
    let normalised = (x[i] - mean[col]) * inv_std[col];
    let per_row = 1.0 / f32(dims.rows);
    let from_sums = (d_beta[col] + normalised * d_gamma[col]) * per_row;
    gradient[i] = gamma[col] * inv_std[col] * (g - from_sums);
}
