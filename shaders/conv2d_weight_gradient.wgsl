// Convolution's weight gradient, first pass. See src/kernels/convolution.rs.
//
//   partial[b] [KH·KW·C, M] = patches(x)ᵀ · dy over block b of the rows of dy [N·OH·OW, M]
//
// An implicit product like the forward one, with the sum over rows split into blocks.
// Dispatch ⌈M / TILE⌉ × ⌈KH KW C / TILE⌉ × blocks work-groups.

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial_sums: array<f32>;

var<private> first_product: u32; // where this block's product begins

fn left(row: u32, depth: u32) -> f32 {
    let tap = row / dims.channels;
    let source = under(depth, vec2(tap / dims.kernel.y, tap % dims.kernel.y));
    if source == NOWHERE {
        return 0.0;
    }
    return x[source * dims.channels + row % dims.channels];
}

fn right(depth: u32, col: u32) -> f32 {
    return dy[depth * dims.maps + col];
}

fn store(row: u32, col: u32, product: f32) {
    partial_sums[first_product + row * dims.maps + col] = product;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let rows = dims.images * dims.map.x * dims.map.y;
    let per_block = (rows + dims.blocks - 1u) / dims.blocks;
    let first = group.z * per_block;
    let taps = dims.kernel.x * dims.kernel.y * dims.channels;
    first_product = group.z * taps * dims.maps;
    let end = min(first + per_block, rows);
    multiply(taps, dims.maps, group.y * TILE, group.x * TILE, first, end, thread);
}
