// y = a · b, fifth rung: vectors of four. See src/kernels/gemm_ladder.rs.
//
//   y [m, n], a [m, k], b [k, n]
//
// The tiles of the fourth rung hold vec4s: a thread's four rows are neighbours, and so are its four columns.
// Faster because one instruction loads sixteen bytes: two loads of workgroup memory, instead of eight, feed
// sixteen multiply-adds. Global memory stays an array of words, for a row whose length is not a multiple of
// four has its vectors askew.
//
// shared/tile.wgsl, which training uses, goes on from here: its vectors hold elements that lie apart, so that
// neighbouring threads read neighbouring words of global memory, and its factors may be transposed or be
// patches of images.
// Dispatch ⌈n / TILE⌉ × ⌈m / TILE⌉ work-groups, what is more than a dimension holds folded into z.

struct Dims {
    m: u32,
    k: u32,
    n: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

const DEPTH: u32 = 16u;
// Vectors in a line of tile_a: one more than there are, for the banks.
const PITCH: u32 = TILE / 4u + 1u;

var<workgroup> tile_a: array<vec4<f32>, DEPTH * PITCH>; // [DEPTH][PITCH], four rows each
var<workgroup> tile_b: array<vec4<f32>, DEPTH * TILE / 4u>; // [DEPTH][TILE / 4], four columns each

fn left(row: u32, depth: u32) -> f32 {
    if row < dims.m && depth < dims.k {
        return a[row * dims.k + depth];
    }
    return 0.0;
}

fn right(depth: u32, col: u32) -> f32 {
    if depth < dims.k && col < dims.n {
        return b[depth * dims.n + col];
    }
    return 0.0;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row0 = (group.z * groups.y + group.y) * TILE;
    let col0 = group.x * TILE;
    let x = thread % 16u;
    let y0 = thread / 16u;
    let row = row0 + 4u * y0;
    let col = col0 + 4u * x;
    var sums: array<vec4<f32>, 4>;
    for (var k0 = 0u; k0 < dims.k; k0 += DEPTH) {
        // Each thread loads one vector of either tile: of a at depth x, of b at depth y0.
        let depth_a = k0 + x;
        let depth_b = k0 + y0;
        tile_a[x * PITCH + y0] = vec4(
            left(row, depth_a),
            left(row + 1u, depth_a),
            left(row + 2u, depth_a),
            left(row + 3u, depth_a),
        );
        tile_b[y0 * 16u + x] = vec4(
            right(depth_b, col),
            right(depth_b, col + 1u),
            right(depth_b, col + 2u),
            right(depth_b, col + 3u),
        );
        workgroupBarrier();
        for (var depth = 0u; depth < DEPTH; depth++) {
            let down = tile_a[depth * PITCH + y0];
            let across = tile_b[depth * 16u + x];
            sums[0] += down.x * across;
            sums[1] += down.y * across;
            sums[2] += down.z * across;
            sums[3] += down.w * across;
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            if row + i < dims.m && col + j < dims.n {
                y[(row + i) * dims.n + col + j] = sums[i][j];
            }
        }
    }
}
