// The mean of each distribution. See src/kernels/gaussian.rs.
//
//   z = μ
//
// One thread per element of z: dispatch ⌈N d / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read_write> z: array<f32>;

fn element(e: u32) {
    if e < dims.rows * dims.width {
        z[e] = q[2u * (e / dims.width) * dims.width + e % dims.width];
    }
}
