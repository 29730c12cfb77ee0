//! The ladder: one matrix product, from its definition to a fast one, an idea at a time.
//!
//! ```text
//! y [m, n] = a [m, k] · b [k, n]
//! ```
//! | rung | CPU, one thread | GPU |
//! |---|---|---|
//! | [`Naive`] | three loops, i-j-k: the definition | a thread per element |
//! | [`Coalesced`] | i-k-j: the innermost loop walks along rows | neighbouring threads along rows |
//! | [`Tiled`] | blocks of b that stay in cache | tiles in workgroup memory |
//! | [`Registers`] | packed factors, sums in registers | sums in registers |
//! | [`Vectors`] | `matrixmultiply`: its own vector instructions, multiplication and addition in one | `vec4` in workgroup memory |
//! | [`Subgroup`], where the adapter has them | | one factor in a subgroup's registers |
//!
//! Training climbs no ladder: it uses [`Gemm`], which also transposes, adds a bias and applies an
//! activation. The ladder is there to be read and to be timed beside it.
//! Every rung is right for every size. 2·m·n·k FLOPs.

use super::gemm::Gemm;
use super::library::{self, Factor};
use super::{Dispatch, Kernel, folded, parallel, shader};
use crate::buffer::{Matrix, Operand};
use crate::kernels::host::{Memory, ScratchSize};
use crate::scalar::Scalar;

/// Step `N` of the ladder; see the [module](self).
#[derive(Clone, Debug)]
pub struct Rung<const N: usize> {
    /// `[m, k]`
    pub a: Matrix,
    /// `[k, n]`
    pub b: Matrix,
    /// `[m, n]`
    pub y: Matrix,
}

/// The definition.
pub type Naive = Rung<0>;
/// Memory is walked in order.
pub type Coalesced = Rung<1>;
/// What was read once is used again, from nearer memory.
pub type Tiled = Rung<2>;
/// Each word that is loaded feeds several sums in registers.
pub type Registers = Rung<3>;
/// Several words to an instruction.
pub type Vectors = Rung<4>;
/// Threads read each other's registers: only for adapters with subgroups. A CPU has nothing of the kind,
/// and does as in [`Vectors`].
pub type Subgroup = Rung<5>;

/// Rows and columns of y that a work-group of each rung owns.
const TILES: [[usize; 2]; 6] = [[16, 16], [16, 16], [16, 16], [64, 64], [64, 64], [16, 512]];

/// Name and shader of each rung.
const RUNGS: [(&str, &str); 6] = [
    (
        "gemm_ladder/naive",
        shader!([TILE = TILES[0][0]] "gemm_ladder/naive"),
    ),
    (
        "gemm_ladder/coalesced",
        shader!([TILE = TILES[1][0]] "gemm_ladder/coalesced"),
    ),
    (
        "gemm_ladder/tiled",
        shader!([TILE = TILES[2][0]] "gemm_ladder/tiled"),
    ),
    (
        "gemm_ladder/registers",
        shader!([TILE = TILES[3][0]] "gemm_ladder/registers"),
    ),
    (
        "gemm_ladder/vectors",
        shader!([TILE = TILES[4][0]] "gemm_ladder/vectors"),
    ),
    (
        "gemm_ladder/subgroup",
        shader!([ROWS = TILES[5][0], COLS = TILES[5][1]] "gemm_ladder/subgroup"),
    ),
];

impl<const N: usize> Rung<N> {
    fn dims(&self) -> [usize; 3] {
        Gemm::new(self.a, self.b, self.y).dims()
    }
}

impl<const N: usize> Kernel for Rung<N> {
    const NAME: &'static str = RUNGS[N].0;
    const SHADER: &'static str = RUNGS[N].1;

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("a", self.a),
            Operand::read("b", self.b),
            Operand::write("y", self.y),
        ]
    }

    fn flops(&self) -> u64 {
        let [m, k, n] = self.dims().map(|dim| dim as u64);
        2 * m * n * k
    }

    fn product(&self) -> Option<[usize; 3]> {
        Some(self.dims())
    }

    fn scratch(&self) -> ScratchSize {
        ScratchSize {
            reals: if N == 3 { packed::SCRATCH } else { 0 },
            places: 0,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let dims = self.dims();
        let ([a, b], [y]) = memory
            .real
            .access([self.a.view, self.b.view], [self.y.view]);
        match N {
            0 => naive(dims, a, b, y),
            1 => in_order(dims, a, b, y),
            2 => blocked(dims, a, b, y),
            3 => memory.scratch.with(0, self.scratch(), |scratch, _| {
                packed::product(dims, a, b, y, scratch)
            }),
            _ => {
                let [_, k, n] = dims;
                let [a, b] = [(a, k), (b, n)].map(|(values, cols)| Factor {
                    values,
                    strides: [cols, 1],
                });
                library::product(dims, a, b, y, false);
            }
        }
    }

    fn gpu(&self) -> Dispatch {
        let [m, k, n] = self.dims();
        let [rows, cols] = TILES[N];
        let [down, layers] = folded(m.div_ceil(rows));
        Dispatch {
            constants: vec![],
            dims: vec![m as u32, k as u32, n as u32],
            groups: [n.div_ceil(cols) as u32, down, layers],
        }
    }
}

/// Element by element. The innermost loop jumps from row to row of b, a cache line each.
fn naive<T: Scalar>([m, k, n]: [usize; 3], a: &[T], b: &[T], y: &mut [T]) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = T::zero();
            for p in 0..k {
                sum += a[i * k + p] * b[p * n + j];
            }
            y[i * n + j] = sum;
        }
    }
}

/// `y += factor · x`
#[inline(always)]
fn add_multiple<T: Scalar>(y: &mut [T], factor: T, x: &[T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// Row by row, each a sum of multiples of b's rows. The innermost loop walks along rows of b and y,
/// which also makes vector code of it.
fn in_order<T: Scalar>([_, k, n]: [usize; 3], a: &[T], b: &[T], y: &mut [T]) {
    parallel::simd(
        #[inline(always)]
        || {
            for (a, y) in a.chunks_exact(k).zip(y.chunks_exact_mut(n)) {
                y.fill(T::zero());
                for (&a, b) in a.iter().zip(b.chunks_exact(n)) {
                    add_multiple(y, a, b);
                }
            }
        },
    );
}

/// The same, a block of b at a time, 256 KiB in f32: it stays in the second-level cache while all
/// rows of a pass by. Pays where b as a whole is larger than any cache; each sum is still loaded and
/// stored for every product added to it, which is what limits both.
fn blocked<T: Scalar>([_, k, n]: [usize; 3], a: &[T], b: &[T], y: &mut [T]) {
    const DEPTH: usize = 128;
    const COLS: usize = 512;
    y.fill(T::zero());
    parallel::simd(
        #[inline(always)]
        || {
            for p0 in (0..k).step_by(DEPTH) {
                let depth = DEPTH.min(k - p0);
                for j0 in (0..n).step_by(COLS) {
                    let cols = COLS.min(n - j0);
                    for (a, y) in a.chunks_exact(k).zip(y.chunks_exact_mut(n)) {
                        for (&a, b) in a[p0..][..depth].iter().zip(b[p0 * n..].chunks_exact(n)) {
                            add_multiple(&mut y[j0..][..cols], a, &b[j0..][..cols]);
                        }
                    }
                }
            }
        },
    );
}

/// Blocked, with the factors repacked into the order in which a micro-kernel reads them, and a small
/// tile of y held in registers while it sums over the block's depth (Goto and van de Geijn, "Anatomy of
/// high-performance matrix multiplication", 2008).
mod packed {
    use super::{Scalar, parallel};

    /// The micro-kernel's tile of y: sixteen vector registers of AVX-512. Wide, for compilers make vector
    /// code of the innermost loop only where it is long (of 8×32 they make code at 0.6 of the speed).
    const ROWS: usize = 4;
    const COLS: usize = 64;
    /// The block of b that stays in the second-level cache: 512 KiB in f32.
    const BLOCK_DEPTH: usize = 256;
    const BLOCK_COLS: usize = 512;

    /// A packed block of b and a packed strip of a.
    pub const SCRATCH: usize = BLOCK_DEPTH * (BLOCK_COLS + ROWS);

    pub fn product<T: Scalar>(
        [m, k, n]: [usize; 3],
        a: &[T],
        b: &[T],
        y: &mut [T],
        scratch: &mut [T],
    ) {
        let (b_block, a_strip) = scratch.split_at_mut(BLOCK_DEPTH * BLOCK_COLS);
        y.fill(T::zero());
        for p0 in (0..k).step_by(BLOCK_DEPTH) {
            let depth = BLOCK_DEPTH.min(k - p0);
            let a_strip = &mut a_strip[..depth * ROWS];
            for j0 in (0..n).step_by(BLOCK_COLS) {
                let cols = BLOCK_COLS.min(n - j0);
                let strips = |cols: usize| (0..cols).step_by(COLS).zip(0..);
                for (j, strip) in strips(cols) {
                    let strip = &mut b_block[strip * depth * COLS..][..depth * COLS];
                    let width = COLS.min(cols - j);
                    for (line, b) in strip
                        .chunks_exact_mut(COLS)
                        .zip(b[p0 * n..].chunks_exact(n))
                    {
                        line[..width].copy_from_slice(&b[j0 + j..][..width]);
                        line[width..].fill(T::zero());
                    }
                }
                for i in (0..m).step_by(ROWS) {
                    let height = ROWS.min(m - i);
                    for (p, line) in a_strip.chunks_exact_mut(ROWS).enumerate() {
                        for (row, packed) in line.iter_mut().enumerate() {
                            // Zeros fill the last strip up.
                            let inside = row < height;
                            *packed = if inside {
                                a[(i + row) * k + p0 + p]
                            } else {
                                T::zero()
                            };
                        }
                    }
                    for (j, strip) in strips(cols) {
                        let strip = &b_block[strip * depth * COLS..][..depth * COLS];
                        let sums = parallel::simd(
                            #[inline(always)]
                            || micro_kernel(a_strip, strip),
                        );
                        let width = COLS.min(cols - j);
                        for (row, sums) in sums[..height].iter().enumerate() {
                            let y = &mut y[(i + row) * n + j0 + j..][..width];
                            y.iter_mut().zip(sums).for_each(|(y, &sum)| *y += sum);
                        }
                    }
                }
            }
        }
    }

    /// `[ROWS, COLS]` sums over the depth of a strip of a, `[depth, ROWS]`, and one of b,
    /// `[depth, COLS]`.
    #[inline(always)]
    fn micro_kernel<T: Scalar>(a: &[T], b: &[T]) -> [[T; COLS]; ROWS] {
        let mut sums = [[T::zero(); COLS]; ROWS];
        let (a, b) = (a.as_chunks::<ROWS>().0, b.as_chunks::<COLS>().0);
        for (a, b) in a.iter().zip(b) {
            for (sums, &a) in sums.iter_mut().zip(a) {
                super::add_multiple(sums, a, b);
            }
        }
        sums
    }
}
