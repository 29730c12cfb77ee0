// Column sums, second pass. See src/kernels/column_sum.rs.
//
//   sum[c] = Σ_b partial[b, c]
//
// One thread per column: dispatch ⌈C / GROUP⌉ work-groups.

struct Dims {
    blocks: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> partial_sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

fn element(col: u32) {
    if col >= dims.cols {
        return;
    }
    var sum = 0.0;
    for (var block = 0u; block < dims.blocks; block++) {
        sum += partial_sums[block * dims.cols + col];
    }
    sums[col] = sum;
}
