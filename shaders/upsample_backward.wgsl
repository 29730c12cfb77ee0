// Nearest-neighbour upsampling backward. See src/kernels/upsample.rs.
//
//   dx[n, h, w, c] = Σ of dy over the block that x[n, h, w, c] became
//   dx [N·H·W, C], dy [N·down·H·across·W, C]
//
// One thread per element of dx: dispatch ⌈elements of dx / GROUP⌉ work-groups.

struct Dims {
    images: u32,
    rows: u32, // of the smaller side
    cols: u32,
    down: u32, // factors
    across: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

fn element(i: u32) {
    if i >= dims.images * dims.rows * dims.cols * dims.channels {
        return;
    }
    let wide = dims.cols * dims.across;
    let position = i / dims.channels;
    let first = position / dims.cols * dims.down * wide + position % dims.cols * dims.across;
    var sum = 0.0;
    for (var down = 0u; down < dims.down; down++) {
        for (var across = 0u; across < dims.across; across++) {
            sum += dy[(first + down * wide + across) * dims.channels + i % dims.channels];
        }
    }
    dx[i] = sum;
}
