// Loss, second pass. See src/kernels/loss.rs.
//
//   note[position] = Σ_b partial[b] / D
//
// One thread: dispatch one work-group. There are as many blocks as the first pass's BLOCK goes into a batch.

struct Dims {
    blocks: u32,
    divisor: f32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> partial_sums: array<f32>;
@group(0) @binding(2) var<storage, read> clock: array<u32>;
@group(0) @binding(3) var<storage, read_write> note: array<f32>;

@compute @workgroup_size(1)
fn main() {
    var sum = 0.0;
    for (var block = 0u; block < dims.blocks; block++) {
        sum += partial_sums[block];
    }
    note[clock[0]] = sum / dims.divisor;
}
