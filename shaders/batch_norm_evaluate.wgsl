// Batch norm in evaluation: the running statistics stand in for the batch's.
// See src/kernels/batch_norm.rs.
//
//   mean = running_mean,  inv_std = 1 / √(running_var + ε)
//
// One thread per column: dispatch ⌈C / 64⌉ work-groups.

struct Dims {
    cols: u32,
}

const EPSILON: f32 = 1e-5;

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> running_mean: array<f32>;
@group(0) @binding(2) var<storage, read> running_var: array<f32>;
@group(0) @binding(3) var<storage, read_write> mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> inv_std: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let col = (group.y * groups.x + group.x) * 64u + local;
    if col >= dims.cols {
        return;
    }
    mean[col] = running_mean[col];
    inv_std[col] = 1.0 / sqrt(running_var[col] + EPSILON);
}
