// Squared norms of rows. See src/kernels/nearest.rs.
//
//   norms[r] = Σ x[r, ·]²         x [R, D]
//
// One thread per row: dispatch ⌈R / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> norms: array<f32>;

fn element(row: u32) {
    if row >= dims.rows {
        return;
    }
    var sum = 0.0;
    for (var i = row * dims.cols; i < (row + 1u) * dims.cols; i++) {
        sum += x[i] * x[i];
    }
    norms[row] = sum;
}
