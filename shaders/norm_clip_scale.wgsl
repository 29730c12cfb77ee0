// Gradients times the factor, third pass. See src/kernels/norm_clip.rs.
//
//   g ← factor · g
//
// One thread per gradient: dispatch ⌈len / GROUP⌉ work-groups.

struct Dims {
    len: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read_write> g: array<f32>;

fn element(i: u32) {
    if i < dims.len {
        g[i] *= factor[0];
    }
}
