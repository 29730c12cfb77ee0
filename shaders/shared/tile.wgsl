// The tile body of every matrix product: a shader that calls `multiply` is this file followed by its
// own, which declares what the factors are and what becomes of the product:
//
//   fn left(row: u32, depth: u32) -> f32              element of the left factor  [m, k]
//   fn right(depth: u32, col: u32) -> f32             element of the right factor [k, n]
//   fn store(row: u32, col: u32, product: f32)
//
// A work-group of THREADS threads computes a TILE×TILE tile. Sixteen columns of the left factor and
// rows of the right one at a time go through workgroup memory, where the ragged edge is filled up
// with zeros; each thread keeps 4×4 sums in registers. Its rows, and its columns, lie LINE apart and
// make up one vector: neighbouring threads then read neighbouring words of global memory, and one
// instruction loads four words of workgroup memory.

// Whether neighbours in memory are neighbours along the rows of the left factor, not its depth; and
// along the depth of the right one, not its columns. Threads load in the order of memory.
const TRANSPOSE_A: bool = false;
const TRANSPOSE_B: bool = false;

const TILE: u32 = 64u; // or 32u
const LINE: u32 = TILE / 4u; // vectors along a side of the tile
const THREADS: u32 = LINE * LINE;
const DEPTH: u32 = 16u;
// One more than a line, so that a column's vectors fall into different banks.
const PITCH: u32 = LINE + 1u;

var<workgroup> tile_a: array<vec4<f32>, DEPTH * PITCH>;
var<workgroup> tile_b: array<vec4<f32>, DEPTH * PITCH>;

fn left_or_zero(row: u32, m: u32, depth: u32, end: u32) -> f32 {
    if row < m && depth < end {
        return left(row, depth);
    }
    return 0.0;
}

fn right_or_zero(depth: u32, end: u32, col: u32, n: u32) -> f32 {
    if depth < end && col < n {
        return right(depth, col);
    }
    return 0.0;
}

// The tile of the [m, n] product that begins at (row0, col0), summed over depth in first .. end.
fn multiply(
    m: u32,
    n: u32,
    row0: u32,
    col0: u32,
    first: u32,
    end: u32,
    thread: u32,
) {
    let x = thread % LINE;
    let y = thread / LINE;
    var sums: array<vec4<f32>, 4>;
    for (var k0 = first; k0 < end; k0 += DEPTH) {
        for (var i = thread; i < LINE * DEPTH; i += THREADS) {
            let depth = select(i % DEPTH, i / LINE, TRANSPOSE_A);
            let line = select(i / DEPTH, i % LINE, TRANSPOSE_A);
            let row = row0 + line;
            let at = k0 + depth;
            tile_a[depth * PITCH + line] = vec4(
                left_or_zero(row, m, at, end),
                left_or_zero(row + LINE, m, at, end),
                left_or_zero(row + 2u * LINE, m, at, end),
                left_or_zero(row + 3u * LINE, m, at, end),
            );
        }
        for (var i = thread; i < LINE * DEPTH; i += THREADS) {
            let depth = select(i / LINE, i % DEPTH, TRANSPOSE_B);
            let line = select(i % LINE, i / DEPTH, TRANSPOSE_B);
            let col = col0 + line;
            let at = k0 + depth;
            tile_b[depth * PITCH + line] = vec4(
                right_or_zero(at, end, col, n),
                right_or_zero(at, end, col + LINE, n),
                right_or_zero(at, end, col + 2u * LINE, n),
                right_or_zero(at, end, col + 3u * LINE, n),
            );
        }
        workgroupBarrier();
        for (var depth = 0u; depth < DEPTH; depth++) {
            let down = tile_a[depth * PITCH + y];
            let across = tile_b[depth * PITCH + x];
            sums[0] += down.x * across;
            sums[1] += down.y * across;
            sums[2] += down.z * across;
            sums[3] += down.w * across;
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let row = row0 + y + LINE * i;
        for (var j = 0u; j < 4u; j++) {
            let col = col0 + x + LINE * j;
            if row < m && col < n {
                store(row, col, sums[i][j]);
            }
        }
    }
}

