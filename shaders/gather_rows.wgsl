// Gather, of rows of reals: a batch by index, and a noisy copy. See src/kernels/gather/rows.rs.
//
//   clean[r, f] = values[order[position·R + r], f]
//   noisy[r, f] = keep · (clean[r, f] + σ·n)
//
// One thread handles the four elements that share a Philox block: dispatch ⌈⌈R F / 4⌉ / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    features: u32,
    sigma: f32,
    mask_below: u32,
    key: vec2<u32>,
    gaussian_stream: u32,
    masking_stream: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> clock: array<u32>;
@group(0) @binding(4) var<storage, read_write> clean: array<f32>;
@group(0) @binding(5) var<storage, read_write> noisy: array<f32>;

fn element(block: u32) {
    let first = block * 4u;
    let elements = dims.rows * dims.features;
    if first >= elements {
        return;
    }
    let position = clock[0];
    let step = clock[1];
    let noise = gaussian_noise(block, step);
    let keep = kept(block, step);
    for (var i = 0u; i < min(4u, elements - first); i++) {
        let element = first + i;
        let row = order[position * dims.rows + element / dims.features];
        let value = values[row * dims.features + element % dims.features];
        clean[element] = value;
        noisy[element] = select(0.0, value + noise[i], keep[i]);
    }
}
