// Batch norm in evaluation: the running statistics stand in for the batch's.
// See src/kernels/batch_norm.rs.
//
//   mean = running_mean,  inv_std = 1 / √(running_var + ε)
//
// One thread per column: dispatch ⌈C / GROUP⌉ work-groups.

struct Dims {
    cols: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> running_mean: array<f32>;
@group(0) @binding(2) var<storage, read> running_var: array<f32>;
@group(0) @binding(3) var<storage, read_write> mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> inv_std: array<f32>;

fn element(col: u32) {
    if col >= dims.cols {
        return;
    }
    mean[col] = running_mean[col];
    inv_std[col] = 1.0 / sqrt(running_var[col] + dims.epsilon);
}
