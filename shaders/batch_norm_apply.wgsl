// Batch norm forward, last pass. See src/kernels/batch_norm.rs.
//
//   y = f(γ (x − mean) · inv_std + β)       x, y [N, C]
//
// One thread per element: dispatch ⌈N C / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> inv_std: array<f32>;
@group(0) @binding(4) var<storage, read> gamma: array<f32>;
@group(0) @binding(5) var<storage, read> beta: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

fn element(i: u32) {
    if i >= dims.rows * dims.cols {
        return;
    }
    let col = i % dims.cols;
    y[i] = activate(gamma[col] * ((x[i] - mean[col]) * inv_std[col]) + beta[col]);
}
