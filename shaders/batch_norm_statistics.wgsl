// Batch norm forward, second pass. See src/kernels/batch_norm.rs.
//
//   mean, inv_std of the batch from the blocks' moments; running_mean, running_var updated
//
// One thread per column: dispatch ⌈C / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    cols: u32,
    epsilon: f32,
    momentum: f32,
}


@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> moments: array<f32>;
@group(0) @binding(2) var<storage, read_write> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> inv_std: array<f32>;
@group(0) @binding(4) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> running_var: array<f32>;

fn rows_of(block: u32) -> f32 {
    return f32(min(ROWS_PER_BLOCK, dims.rows - block * ROWS_PER_BLOCK));
}

fn element(col: u32) {
    if col >= dims.cols {
        return;
    }
    let n = f32(dims.rows);
    let blocks = (dims.rows + ROWS_PER_BLOCK - 1u) / ROWS_PER_BLOCK;
    var batch_mean = 0.0;
    for (var block = 0u; block < blocks; block++) {
        batch_mean += rows_of(block) * moments[2u * block * dims.cols + col];
    }
    batch_mean /= n;
    var squares = 0.0;
    for (var block = 0u; block < blocks; block++) {
        let shift = moments[2u * block * dims.cols + col] - batch_mean;
        squares += moments[(2u * block + 1u) * dims.cols + col] + rows_of(block) * shift * shift;
    }
    running_mean[col] += dims.momentum * (batch_mean - running_mean[col]);
    running_var[col] += dims.momentum * (squares / (n - 1.0) - running_var[col]);
    mean[col] = batch_mean;
    inv_std[col] = 1.0 / sqrt(squares / n + dims.epsilon);
}
