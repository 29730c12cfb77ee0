// Divergence from the standard normal, first pass. See src/kernels/gaussian.rs.
//
//   partial[b] = Σ ½ (μ² + e^l − 1 − l)      over blocks of BLOCK elements
//
// One work-group per block: dispatch ⌈N d / BLOCK⌉ work-groups.

struct Dims {
    rows: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;

fn elements() -> u32 {
    return dims.rows * dims.width;
}

fn term(e: u32) -> f32 {
    let at = 2u * (e / dims.width) * dims.width + e % dims.width;
    let mean = q[at];
    let log_variance = q[at + dims.width];
    return 0.5 * (mean * mean + exp_minus_one(log_variance) - log_variance);
}
