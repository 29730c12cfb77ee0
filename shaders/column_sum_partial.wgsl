// Column sums, first pass. See src/kernels/column_sum.rs.
//
//   partial[b, c] = Σ_{r in block b} x[r, c]      x [R, C], blocks of 32 rows
//
// One thread per column and block: dispatch ⌈C / 64⌉ × ⌈R / 32⌉ work-groups.

struct Dims {
    rows: u32,
    cols: u32,
}

const ROWS_PER_BLOCK: u32 = 32u;

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let col = group.x * 64u + local;
    let block = group.z * groups.y + group.y;
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
