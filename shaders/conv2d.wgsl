// Convolution forward: y = f(patches(x) · weight + bias). See src/kernels/convolution.rs.
//
//   x [N·H·W, C], weight [KH·KW·C, M], bias [M], y [N·OH·OW, M]
//
// An implicit product: the patches are read from x as the tile needs them (shared/tile.wgsl).
// Dispatch ⌈M / TILE⌉ × ⌈N OH OW / TILE⌉ work-groups, what is more than a dimension holds folded into z.

const BIAS: bool = false;

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

// The patch at a position: its taps one after the other, each with all its channels.
fn left(row: u32, depth: u32) -> f32 {
    let tap = depth / dims.channels;
    let source = under(row, vec2(tap / dims.kernel.y, tap % dims.kernel.y));
    if source == NOWHERE {
        return 0.0;
    }
    return x[source * dims.channels + depth % dims.channels];
}

fn right(depth: u32, col: u32) -> f32 {
    return weight[depth * dims.maps + col];
}

fn store(row: u32, col: u32, product: f32) {
    var value = product;
    if BIAS {
        value += bias[col];
    }
    y[row * dims.maps + col] = activate(value);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row0 = (group.z * groups.y + group.y) * TILE;
    let rows = dims.images * dims.map.x * dims.map.y;
    let depth = dims.kernel.x * dims.kernel.y * dims.channels;
    multiply(rows, dims.maps, row0, group.x * TILE, 0u, depth, thread);
}
