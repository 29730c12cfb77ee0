// GEMM: y = f(op(a) · op(b) + bias). See src/kernels/gemm.rs.
//
//   y [m, n], op(a) [m, k], op(b) [k, n], bias [n]
//
// One work-group per tile of y: shared/tile.wgsl. If k is cut into parts, y is [parts, m, n], a product
// for each part.
// Dispatch ⌈n / TILE⌉ × (⌈m / TILE⌉ · parts) work-groups, what is more than a dimension holds folded into z.

struct Dims {
    m: u32,
    k: u32,
    n: u32,
    depth: u32, // of a part; k if there is but one
}

const BIAS: bool = false;

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

var<private> first_product: u32; // where this part's product begins

fn left(row: u32, depth: u32) -> f32 {
    if TRANSPOSE_A {
        return a[depth * dims.m + row];
    }
    return a[row * dims.k + depth];
}

fn right(depth: u32, col: u32) -> f32 {
    if TRANSPOSE_B {
        return b[col * dims.k + depth];
    }
    return b[depth * dims.n + col];
}

fn store(row: u32, col: u32, product: f32) {
    var value = product;
    if BIAS {
        value += bias[col];
    }
    y[first_product + row * dims.n + col] = activate(value);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tiles = (dims.m + TILE - 1u) / TILE;
    let index = group.z * groups.y + group.y;
    let part = index / tiles;
    let first = part * dims.depth;
    if first >= dims.k {
        return; // there may be a few work-groups too many
    }
    first_product = part * dims.m * dims.n;
    let end = min(first + dims.depth, dims.k);
    multiply(dims.m, dims.n, index % tiles * TILE, group.x * TILE, first, end, thread);
}
