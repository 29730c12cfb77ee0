// y ← x. See src/kernels/elementwise.rs. One thread per element: dispatch ⌈len / GROUP⌉ work-groups.

struct Dims {
    len: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn element(i: u32) {
    if i < dims.len {
        y[i] = x[i];
    }
}
