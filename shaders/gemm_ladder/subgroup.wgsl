// y = a · b, beside the ladder: a in the registers of a subgroup. See src/kernels/gemm_ladder.rs.
//
//   y [m, n], a [m, k], b [k, n]
//
// The threads of a subgroup (a warp, a wave, a SIMD group: 4 to 128 lanes that run in step) can read each
// other's registers. Here all of a subgroup's threads compute the same 16 rows, each thread 4 columns of its
// own, THREADS apart, so that neighbours read neighbouring words. A lane loads one word of each row of `a`,
// at a depth of its own; at each step along the depth, the lane that holds it hands its 16 words to all
// others. `b` comes straight from global memory, where a thread alone needs its columns. Neither is put into
// workgroup memory, and there is nothing to wait for: no barrier.
// Dispatch ⌈n / COLS⌉ × ⌈m / ROWS⌉ work-groups, what is more than a dimension holds folded into z.

struct Dims {
    m: u32,
    k: u32,
    n: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// As many as the largest subgroup has.
const THREADS: u32 = 128u;

fn left(row: u32, depth: u32) -> f32 {
    if row < dims.m && depth < dims.k {
        return a[row * dims.k + depth];
    }
    return 0.0;
}

fn right(depth: u32, col: u32) -> f32 {
    if col < dims.n {
        return b[depth * dims.n + col];
    }
    return 0.0;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let row0 = (group.z * groups.y + group.y) * ROWS;
    let col0 = group.x * COLS + thread;
    // Those that run: `subgroup_size` would count the missing ones of a subgroup that is not full. Not the
    // largest `lane`: what is computed from it differs between lanes, to a compiler that wants proof that all
    // of them meet at a shuffle.
    let lanes = subgroupAdd(1u);
    var sums: array<vec4<f32>, 16>;
    for (var k0 = 0u; k0 < dims.k; k0 += lanes) {
        var held: array<f32, 16>;
        for (var i = 0u; i < ROWS; i++) {
            held[i] = left(row0 + i, k0 + lane);
        }
        let holders = min(lanes, dims.k - k0);
        for (var holder = 0u; holder < holders; holder++) {
            let depth = k0 + holder;
            let across = vec4(
                right(depth, col0),
                right(depth, col0 + THREADS),
                right(depth, col0 + 2u * THREADS),
                right(depth, col0 + 3u * THREADS),
            );
            for (var i = 0u; i < ROWS; i++) {
                sums[i] += subgroupShuffle(held[i], holder) * across;
            }
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        for (var j = 0u; j < 4u; j++) {
            let col = col0 + j * THREADS;
            if row0 + i < dims.m && col < dims.n {
                y[(row0 + i) * dims.n + col] = sums[i][j];
            }
        }
    }
}
