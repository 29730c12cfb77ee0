// Squared norms of rows. See src/kernels/nearest.rs.
//
//   norms[r] = Σ x[r, ·]²         x [R, D]
//
// One thread per row.

struct Dims {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> norms: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = (group.y * groups.x + group.x) * 64u + local;
    if row >= dims.rows {
        return;
    }
    var sum = 0.0;
    for (var i = row * dims.cols; i < (row + 1u) * dims.cols; i++) {
        sum += x[i] * x[i];
    }
    norms[row] = sum;
}
