// What shared/tile.wgsl computes, by plain loops: no workgroup memory, no registers to fill, nothing
// to get wrong. It stands in for that file wherever the tiles are to be judged; the same functions
// `left`, `right` and `store` say what is multiplied, and the same work-groups own the same tiles.

const TRANSPOSE_A: bool = false;
const TRANSPOSE_B: bool = false;

const TILE: u32 = 64u;
const THREADS: u32 = TILE * TILE / 16u;

fn multiply(
    m: u32,
    n: u32,
    row0: u32,
    col0: u32,
    first: u32,
    end: u32,
    thread: u32,
) {
    for (var element = thread; element < TILE * TILE; element += THREADS) {
        let row = row0 + element / TILE;
        let col = col0 + element % TILE;
        if row < m && col < n {
            var sum = 0.0;
            for (var depth = first; depth < end; depth++) {
                sum += left(row, depth) * right(depth, col);
            }
            store(row, col, sum);
        }
    }
}

