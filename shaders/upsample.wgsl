// Nearest-neighbour upsampling forward. See src/kernels/upsample.rs.
//
//   y[n, h, w, c] = x[n, ⌊h/down⌋, ⌊w/across⌋, c]      x [N·H·W, C], y [N·down·H·across·W, C]
//
// One thread per element of y: dispatch ⌈elements of y / GROUP⌉ work-groups.

struct Dims {
    images: u32,
    rows: u32, // of the smaller side
    cols: u32,
    down: u32, // factors
    across: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn element(i: u32) {
    let wide = dims.cols * dims.across;
    if i >= dims.images * dims.rows * dims.down * wide * dims.channels {
        return;
    }
    let place = i / dims.channels;
    let col = place % wide / dims.across;
    // Rows of all images, one after the other: `down` divides an image's, so images stay apart.
    let row = place / wide / dims.down;
    y[i] = x[(row * dims.cols + col) * dims.channels + i % dims.channels];
}
