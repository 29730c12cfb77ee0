// Column sums, first pass. See src/kernels/column_sum.rs.
//
//   partial[b, c] = Σ_{r in block b} x[r, c]      x [R, C], blocks of ROWS_PER_BLOCK rows
//
// One thread per column and block: dispatch ⌈C / GROUP⌉ × ⌈R / ROWS_PER_BLOCK⌉ work-groups.

struct Dims {
    rows: u32,
    cols: u32,
}


@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;

fn column_of_block(col: u32, block: u32) {
    let first = block * ROWS_PER_BLOCK;
    if col >= dims.cols || first >= dims.rows {
        return;
    }
    var sum = 0.0;
    for (var row = first; row < min(first + ROWS_PER_BLOCK, dims.rows); row++) {
        sum += x[row * dims.cols + col];
    }
    partial_sums[block * dims.cols + col] = sum;
}
