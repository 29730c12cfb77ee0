// y = a · b, third rung: a tile in workgroup memory. See src/kernels/gemm_ladder.rs.
//
//   y [m, n], a [m, k], b [k, n]
//
// The work-group's 256 threads together load 16×16 words of each factor into the memory they share, then
// every thread reads a row of one tile and a column of the other. Faster because a word comes from global
// memory once per work-group instead of once per thread: a sixteenth of the traffic.
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

var<workgroup> tile_a: array<f32, TILE * TILE>; // [row][depth]
var<workgroup> tile_b: array<f32, TILE * TILE>; // [depth][col]

@compute @workgroup_size(TILE * TILE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let y_in_tile = thread / TILE;
    let x_in_tile = thread % TILE;
    let row = (group.z * groups.y + group.y) * TILE + y_in_tile;
    let col = group.x * TILE + x_in_tile;
    var sum = 0.0;
    for (var k0 = 0u; k0 < dims.k; k0 += TILE) {
        // Zeros fill the tiles up beyond the matrices' edges, and add nothing.
        var left = 0.0;
        if row < dims.m && k0 + x_in_tile < dims.k {
            left = a[row * dims.k + k0 + x_in_tile];
        }
        var right = 0.0;
        if k0 + y_in_tile < dims.k && col < dims.n {
            right = b[(k0 + y_in_tile) * dims.n + col];
        }
        tile_a[thread] = left;
        tile_b[thread] = right;
        workgroupBarrier();
        for (var depth = 0u; depth < TILE; depth++) {
            sum += tile_a[y_in_tile * TILE + depth] * tile_b[depth * TILE + x_in_tile];
        }
        workgroupBarrier();
    }
    if row < dims.m && col < dims.n {
        y[row * dims.n + col] = sum;
    }
}
