// Softmax cross-entropy, second pass. See src/kernels/softmax.rs.
//
//   losses[position], errors[position], labelled[0] = Σ loss / L, Σ errors / L, L
//
// One thread: dispatch one work-group.

struct Dims {
    blocks: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> partial_sums: array<f32>;
@group(0) @binding(2) var<storage, read> clock: array<u32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
@group(0) @binding(4) var<storage, read_write> errors: array<f32>;
@group(0) @binding(5) var<storage, read_write> labelled: array<f32>;

@compute @workgroup_size(1)
fn main() {
    var sum = vec3(0.0);
    for (var block = 0u; block < dims.blocks; block++) {
        let first = 3u * block;
        sum += vec3(partial_sums[first], partial_sums[first + 1u], partial_sums[first + 2u]);
    }
    let divisor = select(1.0, sum.y, sum.y > 0.0);
    losses[clock[0]] = sum.x / divisor;
    errors[clock[0]] = sum.z / divisor;
    labelled[0] = sum.y;
}
