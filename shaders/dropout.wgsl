// Dropout. See src/kernels/dropout.rs.
//
//   y[e] = 0 if word e is below p · 2³², else x[e] / (1 − p)
//
// One thread for the four elements that share a Philox block: dispatch ⌈⌈E / 4⌉ / GROUP⌉ work-groups.

struct Dims {
    elements: u32,
    below: u32,
    scale: f32,
    key0: u32,
    key1: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> clock: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn element(block: u32) {
    let first = block * 4u;
    if first >= dims.elements {
        return;
    }
    let words = philox(vec4(block, clock[1], dims.stream, 0u), vec2(dims.key0, dims.key1));
    for (var i = 0u; i < min(4u, dims.elements - first); i++) {
        y[first + i] = select(dims.scale * x[first + i], 0.0, words[i] < dims.below);
    }
}
