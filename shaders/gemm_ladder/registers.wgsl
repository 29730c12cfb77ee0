// y = a · b, fourth rung: a tile in registers. See src/kernels/gemm_ladder.rs.
//
//   y [m, n], a [m, k], b [k, n]
//
// Each thread now computes 4×4 elements, so the work-group owns a tile of 64×64. For each step along the
// depth a thread reads 4 + 4 words of workgroup memory and makes 16 multiply-adds of them in registers,
// where the third rung read two words for one. Faster because workgroup memory, too, has a bandwidth: a
// quarter of its traffic, and a quarter of the global traffic, for the same sums.
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
// One more than a tile, so that a column's elements fall into different banks.
const PITCH: u32 = TILE + 1u;

var<workgroup> tile_a: array<f32, DEPTH * PITCH>; // [DEPTH][PITCH]
var<workgroup> tile_b: array<f32, DEPTH * PITCH>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row0 = (group.z * groups.y + group.y) * TILE;
    let col0 = group.x * TILE;
    // The thread's rows and columns lie 16 apart, so that neighbours read neighbouring words.
    let x = thread % 16u;
    let y0 = thread / 16u;
    var sums: array<array<f32, 4>, 4>;
    for (var k0 = 0u; k0 < dims.k; k0 += DEPTH) {
        for (var i = thread; i < TILE * DEPTH; i += 256u) {
            let row = i / DEPTH;
            let depth = i % DEPTH;
            var left = 0.0;
            if row0 + row < dims.m && k0 + depth < dims.k {
                left = a[(row0 + row) * dims.k + k0 + depth];
            }
            tile_a[depth * PITCH + row] = left;
        }
        for (var i = thread; i < TILE * DEPTH; i += 256u) {
            let depth = i / TILE;
            let col = i % TILE;
            var right = 0.0;
            if k0 + depth < dims.k && col0 + col < dims.n {
                right = b[(k0 + depth) * dims.n + col0 + col];
            }
            tile_b[depth * PITCH + col] = right;
        }
        workgroupBarrier();
        for (var depth = 0u; depth < DEPTH; depth++) {
            var across: array<f32, 4>;
            for (var j = 0u; j < 4u; j++) {
                across[j] = tile_b[depth * PITCH + x + 16u * j];
            }
            for (var i = 0u; i < 4u; i++) {
                let left = tile_a[depth * PITCH + y0 + 16u * i];
                for (var j = 0u; j < 4u; j++) {
                    sums[i][j] += left * across[j];
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let row = row0 + y0 + 16u * i;
        for (var j = 0u; j < 4u; j++) {
            let col = col0 + x + 16u * j;
            if row < dims.m && col < dims.n {
                y[row * dims.n + col] = sums[i][j];
            }
        }
    }
}
