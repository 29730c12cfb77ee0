// Gradient of L1. See src/kernels/sparsity.rs.
//
//   dh = s sign(h)
//
// One thread per element: dispatch ⌈N H / GROUP⌉ work-groups.

struct Dims {
    len: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> dh: array<f32>;

fn element(i: u32) {
    if i < dims.len {
        dh[i] = dims.scale * sign(h[i]);
    }
}
