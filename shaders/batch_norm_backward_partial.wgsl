// Batch norm backward, first pass. See src/kernels/batch_norm.rs.
//
//   g = dy · f′(y),  x̂ = (x − mean) · inv_std
//   partial[b, 0, c] = Σ_{r in block b} g[r, c]
//   partial[b, 1, c] = Σ_{r in block b} g[r, c] x̂[r, c]       blocks of ROWS_PER_BLOCK rows
//
// One thread per column and block: dispatch ⌈C / GROUP⌉ × ⌈N / ROWS_PER_BLOCK⌉ work-groups.

struct Dims {
    rows: u32,
    cols: u32,
}


@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> inv_std: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<f32>;
@group(0) @binding(6) var<storage, read_write> sums: array<f32>;

fn column_of_block(col: u32, block: u32) {
    let first = block * ROWS_PER_BLOCK;
    if col >= dims.cols || first >= dims.rows {
        return;
    }
    var sum_g = 0.0;
    var sum_gx = 0.0;
    for (var row = first; row < min(first + ROWS_PER_BLOCK, dims.rows); row++) {
        let i = row * dims.cols + col;
        let g = dy[i] * slope(y[i]);
        sum_g += g;
        sum_gx += g * ((x[i] - mean[col]) * inv_std[col]);
    }
    sums[2u * block * dims.cols + col] = sum_g;
    sums[(2u * block + 1u) * dims.cols + col] = sum_gx;
}
