// A matrix cut in two, column by column. See src/kernels/join.rs.
//
//   a[r, c] = y[r, c],  b[r, c] = y[r, A + c]
//
// One thread per element of y: dispatch ⌈R (A + B) / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    cols_a: u32,
    cols_b: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> a: array<f32>;
@group(0) @binding(3) var<storage, read_write> b: array<f32>;

fn element(i: u32) {
    let cols = dims.cols_a + dims.cols_b;
    if i >= dims.rows * cols {
        return;
    }
    let row = i / cols;
    let col = i % cols;
    if col < dims.cols_a {
        a[row * dims.cols_a + col] = y[i];
    } else {
        b[row * dims.cols_b + col - dims.cols_a] = y[i];
    }
}
