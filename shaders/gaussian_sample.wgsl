// A sample of each normal distribution. See src/kernels/gaussian.rs.
//
//   z[r, c] = μ[r, c] + e^(l[r, c] / 2) n[r, c]
//
// One thread for the four elements that share a Philox block: dispatch ⌈⌈N d / 4⌉ / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    width: u32,
    key0: u32,
    key1: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> clock: array<u32>;
@group(0) @binding(3) var<storage, read_write> z: array<f32>;
@group(0) @binding(4) var<storage, read_write> noise: array<f32>;

fn element(block: u32) {
    let first = block * 4u;
    let elements = dims.rows * dims.width;
    if first >= elements {
        return;
    }
    let words = philox(vec4(block, clock[1], dims.stream, 0u), vec2(dims.key0, dims.key1));
    let drawn = vec4(normal_pair(words.x, words.y), normal_pair(words.z, words.w));
    for (var i = 0u; i < min(4u, elements - first); i++) {
        let e = first + i;
        let mean = 2u * (e / dims.width) * dims.width + e % dims.width;
        noise[e] = drawn[i];
        z[e] = q[mean] + exp(0.5 * q[mean + dims.width]) * drawn[i];
    }
}
