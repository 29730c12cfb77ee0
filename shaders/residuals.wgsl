// The last column of sketches: how much of a row lies outside of their directions, rounded up. See
// src/kernels/nearest/filter.rs.
//
//   sketches[r, d] = √(max(0, norms[r] − Σ sketches[r, 0..d]²) + slack · norms[r])
//
// One thread per row: dispatch ⌈R / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    cols: u32,
    slack: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read_write> sketches: array<f32>;
@group(0) @binding(2) var<storage, read> norms: array<f32>;

fn element(row: u32) {
    if row >= dims.rows {
        return;
    }
    let last = (row + 1u) * dims.cols - 1u;
    var inside = 0.0;
    for (var i = row * dims.cols; i < last; i++) {
        inside += sketches[i] * sketches[i];
    }
    let outside = norms[row] - inside;
    let slack = bitcast<f32>(dims.slack);
    // The smallest number makes up for what underflows.
    sketches[last] = sqrt(select(outside, 0.0, outside < 0.0) + slack * norms[row] + 0x1p-126f);
}
