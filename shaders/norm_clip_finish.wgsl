// Norm and factor, second pass. See src/kernels/norm_clip.rs.
//
//   norm = √Σ_b partial[b],  factor = min(1, limit / (norm + 1e-6))
//
// One thread: dispatch one work-group.

struct Dims {
    blocks: u32,
    limit: f32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> partial_sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> norm: array<f32>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;

@compute @workgroup_size(1)
fn main() {
    var sum = 0.0;
    for (var block = 0u; block < dims.blocks; block++) {
        sum += partial_sums[block];
    }
    let root = sqrt(sum);
    norm[0] = root;
    let quotient = dims.limit / (root + 1e-6);
    // Not `min`, which may turn a NaN into 1 and hide it.
    factor[0] = select(quotient, 1.0, quotient > 1.0);
}
