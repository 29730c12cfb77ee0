// Gradient of the divergence from the standard normal. See src/kernels/gaussian.rs.
//
//   dμ = s μ,  dl = s ½ (e^l − 1)
//
// One thread per element of q: dispatch ⌈2 N d / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    width: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read_write> dq: array<f32>;

fn element(i: u32) {
    if i >= 2u * dims.rows * dims.width {
        return;
    }
    let of_mean = i % (2u * dims.width) < dims.width;
    dq[i] = dims.scale * select(0.5 * exp_minus_one(q[i]), q[i], of_mean);
}
