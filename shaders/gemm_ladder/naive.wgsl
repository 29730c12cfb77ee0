// y = a · b, first rung: the definition. See src/kernels/gemm_ladder.rs.
//
//   y [m, n], a [m, k], b [k, n]
//
// One thread computes one element; a work-group of 256 threads owns 16×16 of them. Neighbouring threads
// stand in neighbouring ROWS, so at any moment they read words of `a` that lie k apart and write words of
// `y` that lie n apart: of every cache line that memory hands over, one word is used.
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

@compute @workgroup_size(TILE * TILE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = (group.z * groups.y + group.y) * TILE + thread % TILE;
    let col = group.x * TILE + thread / TILE;
    if row >= dims.m || col >= dims.n {
        return;
    }
    var sum = 0.0;
    for (var depth = 0u; depth < dims.k; depth++) {
        sum += a[row * dims.k + depth] * b[depth * dims.n + col];
    }
    y[row * dims.n + col] = sum;
}
