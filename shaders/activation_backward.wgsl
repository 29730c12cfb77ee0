// Activation backward: dx = dy · f′, with f′ from y = f(x), or from x where y does not tell it. See
// src/kernels/activation.rs.
//
// One thread per element: dispatch ⌈len / GROUP⌉ work-groups.

struct Dims {
    len: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> saved: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

fn element(i: u32) {
    if i >= dims.len {
        return;
    }
    dx[i] = dy[i] * slope(saved[i]);
}
