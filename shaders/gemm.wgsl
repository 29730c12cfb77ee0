// GEMM: y = f(op(a) · op(b) + bias). See src/kernels/gemm.rs.
//
//   y [m, n], op(a) [m, k], op(b) [k, n], bias [n]
//
// A work-group of 16×16 threads computes a 64×64 tile of y. Sixteen columns of op(a) and rows of
// op(b) at a time go through workgroup memory, where the ragged edge is filled up with zeros; each
// thread keeps 4×4 sums in registers, of rows and columns 16 apart, so that neighbouring threads
// read neighbouring words.

struct Dims {
    m: u32,
    k: u32,
    n: u32,
}

const TRANSPOSE_A: bool = false;
const TRANSPOSE_B: bool = false;
const BIAS: bool = false;
const ACTIVATION: u32 = 0u; // 0 identity, 1 ReLU, 2 sigmoid

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;
// One more than a tile, so that a column's elements fall into different banks.
const PITCH: u32 = 65u;

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

var<workgroup> tile_a: array<f32, 1040>; // [DEPTH][PITCH]
var<workgroup> tile_b: array<f32, 1040>;

fn activate(x: f32) -> f32 {
    if ACTIVATION == 1u {
        return select(x, 0.0, x < 0.0);
    }
    if ACTIVATION == 2u {
        // The exponential of a negative number cannot overflow.
        let e = exp(-abs(x));
        return select(e, 1.0, x >= 0.0) / (1.0 + e);
    }
    return x;
}

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row0 = group.y * TILE;
    let col0 = group.x * TILE;
    var sums: array<vec4<f32>, 4>;

    for (var k0 = 0u; k0 < dims.k; k0 += DEPTH) {
        // 64 × 16 elements of each factor, four per thread; consecutive threads read consecutive
        // addresses, whichever way the factor lies.
        for (var i = thread; i < TILE * DEPTH; i += 256u) {
            var depth = i % DEPTH;
            var row = i / DEPTH;
            if TRANSPOSE_A {
                depth = i / TILE;
                row = i % TILE;
            }
            var value = 0.0;
            if row0 + row < dims.m && k0 + depth < dims.k {
                if TRANSPOSE_A {
                    value = a[(k0 + depth) * dims.m + row0 + row];
                } else {
                    value = a[(row0 + row) * dims.k + k0 + depth];
                }
            }
            tile_a[depth * PITCH + row] = value;
        }
        for (var i = thread; i < TILE * DEPTH; i += 256u) {
            var depth = i / TILE;
            var col = i % TILE;
            if TRANSPOSE_B {
                depth = i % DEPTH;
                col = i / DEPTH;
            }
            var value = 0.0;
            if col0 + col < dims.n && k0 + depth < dims.k {
                if TRANSPOSE_B {
                    value = b[(col0 + col) * dims.k + k0 + depth];
                } else {
                    value = b[(k0 + depth) * dims.n + col0 + col];
                }
            }
            tile_b[depth * PITCH + col] = value;
        }
        workgroupBarrier();
        for (var depth = 0u; depth < DEPTH; depth++) {
            let line = depth * PITCH;
            let right = vec4(
                tile_b[line + local.x],
                tile_b[line + local.x + 16u],
                tile_b[line + local.x + 32u],
                tile_b[line + local.x + 48u],
            );
            for (var i = 0u; i < 4u; i++) {
                sums[i] += tile_a[line + local.y + 16u * i] * right;
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < 4u; i++) {
        let row = row0 + local.y + 16u * i;
        for (var j = 0u; j < 4u; j++) {
            let col = col0 + local.x + 16u * j;
            if row < dims.m && col < dims.n {
                var value = sums[i][j];
                if BIAS {
                    value += bias[col];
                }
                y[row * dims.n + col] = activate(value);
            }
        }
    }
}
