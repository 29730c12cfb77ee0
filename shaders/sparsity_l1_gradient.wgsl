// Gradient of L1. See src/kernels/sparsity.rs.
//
//   dh = s sign(h)
//
// One thread per element: dispatch ⌈N H / 64⌉ work-groups.

struct Dims {
    len: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> dh: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i < dims.len {
        dh[i] = dims.scale * sign(h[i]);
    }
}
