// Gradient of the divergence from the standard normal. See src/kernels/gaussian.rs.
//
//   dμ = s μ,  dl = s ½ (e^l − 1)
//
// One thread per element of q: dispatch ⌈2 N d / 64⌉ work-groups.

struct Dims {
    rows: u32,
    width: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read_write> dq: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= 2u * dims.rows * dims.width {
        return;
    }
    let of_mean = i % (2u * dims.width) < dims.width;
    dq[i] = dims.scale * select(0.5 * exp_minus_one(q[i]), q[i], of_mean);
}
