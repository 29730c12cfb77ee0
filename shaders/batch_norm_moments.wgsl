// Batch norm forward, first pass. See src/kernels/batch_norm.rs.
//
//   partial[b, 0, c] = mean of x[·, c] over block b
//   partial[b, 1, c] = Σ (x[r, c] − that mean)²           x [N, C], blocks of ROWS_PER_BLOCK rows
//
// One thread per column and block: dispatch ⌈C / GROUP⌉ × ⌈N / ROWS_PER_BLOCK⌉ work-groups.

struct Dims {
    rows: u32,
    cols: u32,
}


@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> moments: array<f32>;

fn column_of_block(col: u32, block: u32) {
    let first = block * ROWS_PER_BLOCK;
    if col >= dims.cols || first >= dims.rows {
        return;
    }
    let end = min(first + ROWS_PER_BLOCK, dims.rows);
    var mean = 0.0;
    for (var row = first; row < end; row++) {
        mean += x[row * dims.cols + col];
    }
    mean *= 1.0 / f32(end - first);
    var squares = 0.0;
    for (var row = first; row < end; row++) {
        let shift = x[row * dims.cols + col] - mean;
        squares += shift * shift;
    }
    moments[2u * block * dims.cols + col] = mean;
    moments[(2u * block + 1u) * dims.cols + col] = squares;
}
