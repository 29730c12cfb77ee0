// Gradient of a sample by its distribution. See src/kernels/gaussian.rs.
//
//   dμ = dz,  dl = dz · n · e^(l / 2) / 2
//
// One thread per element of dz: dispatch ⌈N d / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> noise: array<f32>;
@group(0) @binding(3) var<storage, read> dz: array<f32>;
@group(0) @binding(4) var<storage, read_write> dq: array<f32>;

fn element(e: u32) {
    if e >= dims.rows * dims.width {
        return;
    }
    let mean = 2u * (e / dims.width) * dims.width + e % dims.width;
    dq[mean] = dz[e];
    dq[mean + dims.width] = dz[e] * noise[e] * exp(0.5 * q[mean + dims.width]) * 0.5;
}
