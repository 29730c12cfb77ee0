// The tile body of every matrix product: a shader that calls `multiply` is this file followed by its
// own, which declares what the factors are and what becomes of the product:
//
//   fn left(row: u32, depth: u32) -> f32              element of the left factor  [m, k]
//   fn right(depth: u32, col: u32) -> f32             element of the right factor [k, n]
//   fn store(row: u32, col: u32, product: f32)
//
// A work-group of 16×16 threads computes a 64×64 tile. Sixteen columns of the left factor and rows
// of the right one at a time go through workgroup memory, where the ragged edge is filled up with
// zeros; each thread keeps 4×4 sums in registers, of rows and columns 16 apart, so that
// neighbouring threads read neighbouring words.

// Whether neighbours in memory are neighbours along the rows of the left factor, not its depth; and
// along the depth of the right one, not its columns. Threads load in the order of memory.
const TRANSPOSE_A: bool = false;
const TRANSPOSE_B: bool = false;

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;
// One more than a tile, so that a column's elements fall into different banks.
const PITCH: u32 = 65u;

var<workgroup> tile_a: array<f32, 1040>; // [DEPTH][PITCH]
var<workgroup> tile_b: array<f32, 1040>;

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
    let x = thread % 16u;
    let y = thread / 16u;
    var sums: array<vec4<f32>, 4>;
    for (var k0 = first; k0 < end; k0 += DEPTH) {
        for (var i = thread; i < TILE * DEPTH; i += 256u) {
            let depth = select(i % DEPTH, i / TILE, TRANSPOSE_A);
            let row = select(i / DEPTH, i % TILE, TRANSPOSE_A);
            var value = 0.0;
            if row0 + row < m && k0 + depth < end {
                value = left(row0 + row, k0 + depth);
            }
            tile_a[depth * PITCH + row] = value;
        }
        for (var i = thread; i < TILE * DEPTH; i += 256u) {
            let depth = select(i / TILE, i % DEPTH, TRANSPOSE_B);
            let col = select(i % TILE, i / DEPTH, TRANSPOSE_B);
            var value = 0.0;
            if col0 + col < n && k0 + depth < end {
                value = right(k0 + depth, col0 + col);
            }
            tile_b[depth * PITCH + col] = value;
        }
        workgroupBarrier();
        for (var depth = 0u; depth < DEPTH; depth++) {
            let line = depth * PITCH;
            let across = vec4(
                tile_b[line + x],
                tile_b[line + x + 16u],
                tile_b[line + x + 32u],
                tile_b[line + x + 48u],
            );
            for (var i = 0u; i < 4u; i++) {
                sums[i] += tile_a[line + y + 16u * i] * across;
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let row = row0 + y + 16u * i;
        for (var j = 0u; j < 4u; j++) {
            let col = col0 + x + 16u * j;
            if row < m && col < n {
                store(row, col, sums[i][j]);
            }
        }
    }
}

