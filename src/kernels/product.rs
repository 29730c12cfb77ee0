//! The matrix product that the dense and the convolution kernels share on the CPU.
//!
//! ```text
//! y[i, j] (+)= Σ_p a[i, p] · b[p, j]
//!
//! a[i, p]   a.values[row(i) + steps[p]]          read where it lies
//! b[p, j]   panels of WIDTH columns              packed, or where they lie
//! y[i, j]   y[row(i) + j]
//! ```
//! A place in the left factor is the sum of what its row says and what its column says. That covers a
//! matrix (row·width + p), its transpose (row + p·width), and the patches of an image (position of the
//! window + place of the tap): convolution needs no im2col.
//!
//! The loops, from the inside:
//! 1. over p: a row of b, two vectors wide, times up to eight numbers of a, added to a tile of y that
//!    stays in registers (16 of AVX-512's 32; per step two loads of b and eight broadcasts of a feed
//!    sixteen multiply-adds, so arithmetic is the bottleneck);
//! 2. over the panels of b side by side: the rows of a stay in the first-level cache, and whole lines of y
//!    are written;
//! 3. over the tiles, top to bottom: the panels stay in the first- or second-level cache, and what is read
//!    after them is asked for meanwhile;
//! 4. over blocks of [`DEPTH`] of p.
//!
//! Every y[i, j] is summed in the order of p, in blocks of [`DEPTH`], fused multiply-adds where the
//! processor has them: its bits depend neither on the tiles nor on the threads nor on the vectors' width.
//!
//! Source: Goto and van de Geijn, “Anatomy of high-performance matrix multiplication” (2008); reading a
//! factor through offsets as in Matthews, “High-performance tensor contraction without transposition”
//! (2018).

mod layout;
mod panels;
mod prefetch;
mod transpose;

use pulp::{Simd, WithSimd};

pub(super) use layout::{packed_len, panel_len, width};
pub(super) use panels::{Next, Panels, pack};
use prefetch::{WRITE, prefetch};

use crate::scalar::Scalar;

/// Rows of a panel of b that are multiplied at a time: 128 KiB, part of a second-level cache.
pub(super) const DEPTH: usize = 1024;

/// Writes down what an iterator of as many yields.
pub(super) fn fill(target: &mut [usize], values: impl Iterator<Item = usize>) {
    target
        .iter_mut()
        .zip(values)
        .for_each(|(target, value)| *target = value);
}

/// Where y lies, shared by threads that each write elements of their own.
#[derive(Clone, Copy)]
pub(super) struct Target<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: `multiply` and `part` write through it, and their callers promise to share no element.
unsafe impl<T: Send> Sync for Target<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Target<T> {}

impl<T> Target<T> {
    /// All of `y`, which must stay borrowed meanwhile.
    pub fn new(y: &mut [T]) -> Self {
        Target {
            start: y.as_mut_ptr(),
            len: y.len(),
        }
    }

    /// Some of it, to be changed.
    ///
    /// # Safety
    /// Nobody else may touch these elements while the slice lives.
    pub unsafe fn part<'a>(self, first: usize, len: usize) -> &'a mut [T] {
        assert!(first + len <= self.len, "{first} + {len} of {}", self.len);
        // SAFETY: inside the slice this was made from, and the caller's own.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}

/// The left factor: element (i, p) is `values[row(i) + steps[p]]`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, T, R> {
    /// What it is read from.
    pub values: &'a [T],
    /// Where row i starts.
    pub row: R,
    /// Where column p lies from there.
    pub steps: &'a [usize],
}

/// `y[target_row(i) + j] (+)= Σ_p a[i, p] · b[p, j]` for `rows` and the panels' columns.
///
/// Panics if a place lies outside its slice.
///
/// # Safety
/// Nobody else may touch these elements of y meanwhile.
pub(super) unsafe fn multiply<T: Scalar>(
    rows: std::ops::Range<usize>,
    a: Left<'_, T, impl Fn(usize) -> usize>,
    b: Panels<'_, T>,
    y: Target<T>,
    target_row: impl Fn(usize) -> usize,
    accumulate: bool,
) {
    let depth = a.steps.len();
    if depth == 0 || rows.is_empty() {
        assert!(depth > 0 || rows.is_empty(), "an empty sum");
        return;
    }
    // Vectors are at most half a panel wide.
    let last_panel = (b.cols - 1) / width::<T>();
    let tail = (b.cols - last_panel * width::<T>()).next_multiple_of(width::<T>() / 2);
    let end = last_panel * b.panel + (depth - 1) * b.row + tail;
    assert!(end <= b.values.len(), "panels of {depth} rows");
    for (block, steps) in a.steps.chunks(DEPTH).enumerate() {
        pulp::Arch::new().dispatch(Tiles {
            rows: rows.clone(),
            a: Left {
                values: a.values,
                row: &a.row,
                steps,
            },
            farthest: *steps.iter().max().expect("a chunk is not empty"),
            b: Panels {
                values: &b.values[block * DEPTH * b.row..],
                ..b
            },
            y,
            target_row: &target_row,
            accumulate: accumulate || block > 0,
        });
    }
}

/// The tiles of some panels.
struct Tiles<'a, T, R, Y> {
    rows: std::ops::Range<usize>,
    a: Left<'a, T, R>,
    farthest: usize,
    b: Panels<'a, T>,
    y: Target<T>,
    target_row: Y,
    accumulate: bool,
}

/// One tile, as the innermost loop sees it.
struct Tile<'a, T> {
    /// Starts of the rows of a.
    a: [*const T; MOST_ROWS],
    steps: &'a [usize],
    b: *const T,
    b_stride: usize,
    /// Starts of the rows of y.
    y: [*mut T; MOST_ROWS],
    /// Columns of y, at most as many as the tile has.
    cols: usize,
    accumulate: bool,
}

/// Rows of a tile where registers allow it.
const MOST_ROWS: usize = 8;
/// Steps of a tile that take longer than its lines of y take to come from memory.
const WORTH_PREFETCHING: usize = 64;
/// Rows whose multiplication takes longer than the next panels take to come from memory.
const WORTH_LOOKING_AHEAD: usize = 32;

impl<T, R, Y> WithSimd for Tiles<'_, T, R, Y>
where
    T: Scalar,
    R: Fn(usize) -> usize,
    Y: Fn(usize) -> usize,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // AVX-512 and NEON have 32 registers: 8×2 hold sums. AVX has 16: 6×2.
        let most = if S::REGISTER_COUNT >= 32 {
            MOST_ROWS
        } else {
            6
        };
        let lanes = T::lanes::<S>();
        let count = self.rows.len();
        // Tiles of equal height: 9 rows are 5 and 4, not 8 and 1.
        let height = count.div_ceil(count.div_ceil(most));
        let pieces = if count >= WORTH_LOOKING_AHEAD {
            self.b.next.pieces
        } else {
            0
        };
        let pieces_before = |row: usize| (row - self.rows.start) * pieces / count;
        let mut first = self.rows.start;
        while first < self.rows.end {
            let rows = height.min(self.rows.end - first);
            let mut tile = Tile {
                a: [std::ptr::null(); MOST_ROWS],
                steps: self.a.steps,
                b: self.b.values.as_ptr(),
                b_stride: self.b.row,
                y: [std::ptr::null_mut(); MOST_ROWS],
                cols: 0,
                accumulate: self.accumulate,
            };
            for i in 0..rows {
                let (a, y) = ((self.a.row)(first + i), (self.target_row)(first + i));
                assert!(
                    a + self.farthest < self.a.values.len(),
                    "row {} of a",
                    first + i
                );
                assert!(y + self.b.cols <= self.y.len, "row {} of y", first + i);
                tile.a[i] = self.a.values[a..].as_ptr();
                tile.y[i] = self.y.start.wrapping_add(y);
            }
            let next = pieces_before(first)..pieces_before(first + rows);
            self.b.next.prefetch(next);
            let mut done = 0;
            while done < self.b.cols {
                tile.cols = (self.b.cols - done).min(2 * lanes);
                // SAFETY: rows of a and y are inside their slices by the assertions above, the panels
                // hold whole vectors of every row by `multiply`'s, and y is the caller's.
                unsafe {
                    match tile.cols {
                        1 => tile.any_rows::<S, 0>(simd, rows),
                        cols if cols <= lanes => tile.any_rows::<S, 1>(simd, rows),
                        _ => tile.any_rows::<S, 2>(simd, rows),
                    }
                }
                done += tile.cols;
                tile.b = tile.b.wrapping_add(if done.is_multiple_of(width::<T>()) {
                    self.b.panel - (width::<T>() - tile.cols)
                } else {
                    tile.cols
                });
                tile.y
                    .iter_mut()
                    .for_each(|y| *y = y.wrapping_add(tile.cols));
            }
            first += rows;
        }
    }
}

impl<T: Scalar> Tile<'_, T> {
    /// No vectors: a single column.
    ///
    /// # Safety
    /// As for [`product`](Self::product).
    #[inline(always)]
    unsafe fn any_rows<S: Simd, const VECTORS: usize>(&self, simd: S, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows {
                1 => self.product::<S, 1, VECTORS>(simd),
                2 => self.product::<S, 2, VECTORS>(simd),
                3 => self.product::<S, 3, VECTORS>(simd),
                4 => self.product::<S, 4, VECTORS>(simd),
                5 => self.product::<S, 5, VECTORS>(simd),
                6 => self.product::<S, 6, VECTORS>(simd),
                7 => self.product::<S, 7, VECTORS>(simd),
                _ => self.product::<S, 8, VECTORS>(simd),
            }
        }
    }

    /// [`product`](Self::product) of a single column, without vectors: a number at a time is what
    /// processors do twice as many of as of their widest vectors.
    ///
    /// # Safety
    /// As for [`product`](Self::product).
    #[inline(always)]
    unsafe fn column<S: Simd, const ROWS: usize>(&self) {
        let mut sums = [T::zero(); ROWS];
        let mut b = self.b;
        for &step in self.steps {
            // SAFETY: by this function's promise.
            unsafe {
                for (a, sum) in self.a.iter().zip(&mut sums) {
                    *sum = T::multiply_add_one::<S>(*a.add(step), *b, *sum);
                }
            }
            b = b.wrapping_add(self.b_stride);
        }
        for (&y, sum) in self.y.iter().zip(sums) {
            // SAFETY: as above.
            unsafe { *y = if self.accumulate { *y + sum } else { sum } };
        }
    }

    /// The innermost loop.
    ///
    /// # Safety
    /// The first ROWS pointers of a, moved by each step, must be readable; `VECTORS` vectors of every
    /// row of b; `cols` elements of the first ROWS rows of y must be writable, and no
    /// other thread may access them.
    #[inline(always)]
    unsafe fn product<S: Simd, const ROWS: usize, const VECTORS: usize>(&self, simd: S) {
        if VECTORS == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.column::<S, ROWS>() };
            return;
        }
        let lanes = T::lanes::<S>();
        // So that the sums need not wait for their lines in the end: where y comes from memory that is a
        // seventh of a product of depth 64 to 256.
        if self.steps.len() >= WORTH_PREFETCHING {
            for y in self.y.iter().take(ROWS) {
                (0..VECTORS).for_each(|v| prefetch::<WRITE, T>(y.wrapping_add(v * lanes)));
            }
        }
        let mut sums = [[T::splat(simd, T::zero()); VECTORS]; ROWS];
        let mut b = self.b;
        for &step in self.steps {
            // SAFETY: by this function's promise.
            unsafe {
                // (`array::from_fn` would take these through memory.)
                let mut row = [T::splat(simd, T::zero()); VECTORS];
                for (v, row) in row.iter_mut().enumerate() {
                    *row = b.add(v * lanes).cast::<T::Vector<S>>().read_unaligned();
                }
                for (a, sums) in self.a.iter().zip(&mut sums) {
                    let a = T::splat(simd, *a.add(step));
                    for (sum, &b) in sums.iter_mut().zip(&row) {
                        *sum = T::multiply_add(simd, a, b, *sum);
                    }
                }
                b = b.wrapping_add(self.b_stride);
            }
        }
        if self.cols == VECTORS * lanes {
            for (y, sums) in self.y.iter().zip(&sums) {
                for (v, &sum) in sums.iter().enumerate() {
                    // SAFETY: as above.
                    unsafe {
                        let y = y.add(v * lanes).cast::<T::Vector<S>>();
                        y.write_unaligned(if self.accumulate {
                            T::add_vectors(simd, y.read_unaligned(), sum)
                        } else {
                            sum
                        });
                    }
                }
            }
        } else {
            // A copy: what has an address cannot stay in registers, and the sums above must.
            let sums = sums;
            // SAFETY: as above; a row of sums is `VECTORS` vectors.
            unsafe { self.write_some((&raw const sums).cast(), VECTORS * lanes, ROWS) };
        }
    }

    /// Writes `cols` of the sums in each of `rows` rows, which lie `width` apart, or adds them.
    ///
    /// # Safety
    /// As for [`product`](Self::product); the sums must be readable.
    unsafe fn write_some(&self, sums: *const T, width: usize, rows: usize) {
        for (i, &y) in self.y.iter().enumerate().take(rows) {
            for j in 0..self.cols {
                // SAFETY: the caller's promise.
                unsafe {
                    let (y, sum) = (y.add(j), *sums.add(i * width + j));
                    *y = if self.accumulate { *y + sum } else { sum };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Σ a·b in the order of p, in blocks of [`DEPTH`]; fused or not.
    fn in_order(a: &[f32], b: &[f32], fused: bool) -> f32 {
        let block = |(a, b): (&[f32], &[f32])| {
            let pairs = a.iter().zip(b);
            pairs.fold(0.0f32, |sum, (&a, &b)| match fused {
                true => a.mul_add(b, sum),
                false => a * b + sum,
            })
        };
        let blocks = a.chunks(DEPTH).zip(b.chunks(DEPTH)).map(block);
        blocks.reduce(|sum, block| sum + block).expect("not empty")
    }

    /// Numbers without a pattern.
    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let word = |i: usize| (i as u32 + seed).wrapping_mul(2_654_435_761) >> 8;
        (0..count)
            .map(|i| word(i) as f32 / (1 << 23) as f32 - 1.0)
            .collect()
    }

    /// The product of `a [m, k]` and `b [k, n]`, either stored transposed.
    fn product([m, k, n]: [usize; 3], a: &[f32], b: &[f32], transposed: [bool; 2]) -> Vec<f32> {
        let a_strides = if transposed[0] { [1, m] } else { [k, 1] };
        let b_strides = if transposed[1] { [1, k] } else { [n, 1] };
        let steps: Vec<usize> = (0..k).map(|p| p * a_strides[1]).collect();
        let a = Left {
            values: a,
            row: |i| i * a_strides[0],
            steps: &steps,
        };
        let mut packed = vec![f32::NAN; packed_len::<f32>(k, n)];
        let b = if !transposed[1] && Panels::<f32>::fit_in_place(n) {
            Panels::in_place(b, n, n)
        } else {
            pack(b, b_strides, [k, n], &mut packed)
        };
        let mut y = vec![f32::NAN; m * n];
        // SAFETY: one thread.
        unsafe { multiply(0..m, a, b, Target::new(&mut y), |i| i * n, false) };
        y
    }

    #[test]
    fn every_element_is_the_sum_in_order_to_the_last_bit() {
        for [m, k, n] in [
            [1, 1, 1],
            [2, 3, 17],
            [9, 31, 33],
            [8, 129, 64],
            [127, 33, 31],
            [33, DEPTH + 5, 47],
        ] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 7_000_003));
            let flip = |x: &[f32], rows: usize, cols: usize| -> Vec<f32> {
                (0..rows * cols)
                    .map(|i| x[i % rows * cols + i / rows])
                    .collect()
            };
            for transposed in [[false, false], [false, true], [true, false], [true, true]] {
                let stored_a = if transposed[0] {
                    flip(&a, m, k)
                } else {
                    a.clone()
                };
                let stored_b = if transposed[1] {
                    flip(&b, k, n)
                } else {
                    b.clone()
                };
                let y = product([m, k, n], &stored_a, &stored_b, transposed);
                let columns = flip(&b, k, n);
                for (index, &y) in y.iter().enumerate() {
                    let (i, j) = (index / n, index % n);
                    let (row, column) = (&a[i * k..][..k], &columns[j * k..][..k]);
                    let expected = [true, false].map(|fused| in_order(row, column, fused));
                    assert!(
                        expected.map(f32::to_bits).contains(&y.to_bits()),
                        "{m}×{k}×{n}, {transposed:?}, ({i}, {j}): {y} is none of {expected:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_column_by_itself_has_the_bits_it_has_among_others() {
        let [m, k, n] = [19, DEPTH + 7, 33];
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 7_000_003));
        let whole = product([m, k, n], &a, &b, [false, false]);
        for j in 0..n {
            let column: Vec<f32> = b.iter().skip(j).step_by(n).copied().collect();
            let alone = product([m, k, 1], &a, &column, [false, false]);
            let among = whole.iter().skip(j).step_by(n);
            assert!(alone.iter().eq(among), "column {j}");
        }
    }
}
