// Gather: a batch of images by index, scaled, and a noisy copy. See src/kernels/gather.rs.
//
//   clean[r, f] = images[order[position·R + r], f] / 255
//   noisy[r, f] = keep · (warped[r, f] + σ·n)      warped as src/kernels/warp.rs distorts clean
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
    warp_stream: u32,
    height: u32,
    width: u32,
    channels: u32,
    shift: f32,
    rotation: f32,
    scale: f32,
    shear: f32,
}

const WARP: bool = true;

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> images: array<u32>; // bytes, four to a word
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> clock: array<u32>;
@group(0) @binding(4) var<storage, read_write> clean: array<f32>;
@group(0) @binding(5) var<storage, read_write> noisy: array<f32>;

fn pixel(image: u32, element: u32) -> f32 {
    let byte = image * dims.features + element;
    return f32((images[byte / 4u] >> (8u * (byte % 4u))) & 0xffu) / 255.0;
}

// In [−1, 1). Exact: WGSL promises a product to the last bit, a quotient not.
fn uniform_of(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 8388608.0) - 1.0;
}

// An element of the distorted image that stands in row `row` of the batch.
fn warped(image: u32, row: u32, element: u32, step: u32) -> f32 {
    let first = philox(vec4(2u * row, step, dims.warp_stream, 0u), dims.key);
    let second = philox(vec4(2u * row + 1u, step, dims.warp_stream, 0u), dims.key);
    let turn = uniform_of(first.x) * dims.rotation;
    let cos_sin = cos_sin_turn(select(turn, turn + 1.0, turn < 0.0));
    let scale = 1.0 + uniform_of(first.y) * dims.scale;
    let shear = uniform_of(first.z) * dims.shear;
    let shift = vec2(uniform_of(first.w), uniform_of(second.x)) * dims.shift;

    let size = vec2(f32(dims.height), f32(dims.width));
    let centre = 0.5 * (size - 1.0);
    let place = element / dims.channels;
    let from_centre = vec2(f32(place / dims.width), f32(place % dims.width)) - centre;
    let by_y = vec2(scale * cos_sin.x, shear - scale * cos_sin.y);
    let by_x = vec2(scale * cos_sin.y, scale * cos_sin.x);
    let at = by_y * from_centre.x + by_x * from_centre.y + shift + centre;
    let corner = floor(at);
    let part = at - corner;
    var sum = 0.0;
    for (var i = 0u; i < 4u; i++) {
        let far = vec2(f32(i / 2u), f32(i % 2u));
        let share = select(1.0 - part, part, far == vec2(1.0));
        let there = corner + far;
        if all(there >= vec2(0.0)) && all(there < size) {
            let source = (u32(there.x) * dims.width + u32(there.y)) * dims.channels;
            sum += share.x * share.y * pixel(image, source + element % dims.channels);
        }
    }
    return sum;
}

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
        let image = order[position * dims.rows + element / dims.features];
        var value = pixel(image, element % dims.features);
        clean[element] = value;
        if WARP {
            value = warped(image, element / dims.features, element % dims.features, step);
        }
        noisy[element] = select(0.0, value + noise[i], keep[i]);
    }
}
