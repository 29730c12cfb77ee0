//! GEMM: the matrix product, with bias and activation applied while the result is in cache.
//!
//! ```text
//! y = f(op(a) · op(b) + bias)        op(z) = z or zᵀ
//!
//! y     [m, n]
//! op(a) [m, k]     a is [m, k], or [k, m] if transposed
//! op(b) [k, n]     b is [k, n], or [n, k] if transposed
//! bias  [n]        optional, added to every row
//! ```
//! A dense layer's three products are all this one:
//!
//! ```text
//! forward           y        [N, out] = x [N, in] · weight [in, out] + bias
//! data gradient     dx       [N, in]  = dy [N, out] · weightᵀ
//! weight gradient   d_weight [in, out] = xᵀ · dy
//! ```
//! 2·m·n·k FLOPs.
//!
//! CPU: `matrixmultiply`, single-threaded, on blocks of y whose size the shape alone decides.
//! GPU: one work-group of 16×16 threads computes a 64×64 tile of y; 16 columns of op(a) and rows
//! of op(b) at a time pass through workgroup memory; each thread keeps a 4×4 tile in registers.

use rayon::prelude::*;

use super::parallel::{self, with_activation};
use super::{Activation, Dispatch, Kernel, bias_operand, folded, shader};
use crate::device::cpu::Memory;
use crate::plan::{Matrix, Operand, View};
use crate::scalar::Scalar;

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Gemm {
    /// Left factor as it is stored.
    pub a: Matrix,
    /// Right factor as it is stored.
    pub b: Matrix,
    /// Whether a is taken transposed.
    pub transpose_a: bool,
    /// Whether b is taken transposed.
    pub transpose_b: bool,
    /// Added to every row.
    pub bias: Option<View>,
    /// Applied last.
    pub activation: Activation,
    /// The product.
    pub y: Matrix,
}

impl Gemm {
    /// `y = a · b`.
    pub fn new(a: Matrix, b: Matrix, y: Matrix) -> Self {
        Gemm {
            a,
            b,
            transpose_a: false,
            transpose_b: false,
            bias: None,
            activation: Activation::Identity,
            y,
        }
    }

    /// Takes a transposed.
    pub fn transpose_a(self) -> Self {
        Gemm {
            transpose_a: true,
            ..self
        }
    }

    /// Takes b transposed.
    pub fn transpose_b(self) -> Self {
        Gemm {
            transpose_b: true,
            ..self
        }
    }

    /// m, k, n.
    ///
    /// Panics if the operands' shapes do not fit: a mistake in the emitting layer.
    pub fn dims(&self) -> [usize; 3] {
        let [m, k] = logical(self.a, self.transpose_a);
        let [k_of_b, n] = logical(self.b, self.transpose_b);
        assert!(
            k == k_of_b && [m, n] == [self.y.rows, self.y.cols],
            "gemm of {:?} by {:?} into {:?}",
            [m, k],
            [k_of_b, n],
            [self.y.rows, self.y.cols]
        );
        [m, k, n]
    }
}

fn logical(matrix: Matrix, transposed: bool) -> [usize; 2] {
    if transposed {
        [matrix.cols, matrix.rows]
    } else {
        [matrix.rows, matrix.cols]
    }
}

/// Row and column stride of op(matrix).
fn strides(matrix: Matrix, transposed: bool) -> [isize; 2] {
    let row = matrix.cols as isize;
    if transposed { [1, row] } else { [row, 1] }
}

/// Rows and columns of the blocks of y that are handed to threads.
///
/// Every block packs its share of both factors anew, so few large blocks are cheapest; but there
/// must be enough of them to share out. The larger side is halved until there are, unless a block
/// would become too small to be worth handing over. Depends on the shape alone, so that the same
/// sums are formed whatever the number of threads.
fn block_shape([m, k, n]: [usize; 3]) -> [usize; 2] {
    const LARGEST: usize = 512;
    const ENOUGH_BLOCKS: usize = 4;
    const LEAST_FLOPS: usize = 1 << 20;
    /// The widest micro-kernel of `matrixmultiply` computes 16×16.
    const MICRO: usize = 16;
    let [mut rows, mut cols] = [m.min(LARGEST), n.min(LARGEST)];
    loop {
        let blocks = m.div_ceil(rows) * n.div_ceil(cols);
        let flops = 2 * rows * cols * k;
        if blocks >= ENOUGH_BLOCKS || flops < 2 * LEAST_FLOPS {
            return [rows, cols];
        }
        let side = if rows > cols { &mut rows } else { &mut cols };
        let half = side.div_ceil(2).next_multiple_of(MICRO);
        if half >= *side {
            return [rows, cols];
        }
        *side = half;
    }
}

/// The start of y, shared by threads that each write a block of their own.
struct Shared<T>(*mut T);
// SAFETY: blocks are disjoint, and the borrow of y outlives the parallel loop.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn at(&self, offset: usize) -> *mut T {
        self.0.wrapping_add(offset)
    }
}

/// `y = f(y + bias)` on a row of a block; an empty bias adds nothing.
#[inline(always)]
fn epilogue<T: Scalar>(y: &mut [T], bias: &[T], activation: Activation) {
    with_activation!(activation, F => {
        if bias.is_empty() {
            y.iter_mut().for_each(|y| *y = F.apply(*y));
        } else {
            for (y, &bias) in y.iter_mut().zip(bias) {
                *y = F.apply(*y + bias);
            }
        }
    });
}

/// [`epilogue`] on every row of `y`, `[rows, cols]`.
pub(super) fn epilogue_rows<T: Scalar>(
    y: &mut [T],
    cols: usize,
    bias: &[T],
    activation: Activation,
) {
    if bias.is_empty() && activation == Activation::Identity {
        return;
    }
    parallel::simd(
        #[inline(always)]
        || {
            y.chunks_exact_mut(cols)
                .for_each(|y| epilogue(y, bias, activation))
        },
    );
}

impl Kernel for Gemm {
    const NAME: &'static str = "gemm";
    const SHADER: &'static str = shader!("shared/activation", "shared/tile", "gemm");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("a", self.a),
            Operand::read("b", self.b),
            Operand::write("y", self.y),
            bias_operand(self.bias, self.b.view),
        ]
    }

    fn flops(&self) -> u64 {
        let [m, k, n] = self.dims().map(|dim| dim as u64);
        let epilogue = u64::from(self.bias.is_some()) + self.activation.flops();
        m * n * (2 * k + epilogue)
    }

    fn product(&self) -> Option<[usize; 3]> {
        Some(self.dims())
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let [m, k, n] = self.dims();
        let bias = self.bias.unwrap_or(self.b.view.part(0, 0));
        let ([a, b, bias], [y]) = memory
            .real
            .access([self.a.view, self.b.view, bias], [self.y.view]);
        let [a_row, a_col] = strides(self.a, self.transpose_a);
        let [b_row, b_col] = strides(self.b, self.transpose_b);
        let [rows, cols] = block_shape([m, k, n]);
        let across = n.div_ceil(cols);
        let y = Shared(y.as_mut_ptr());
        (0..m.div_ceil(rows) * across)
            .into_par_iter()
            .for_each(|block| {
                let (i, j) = (block / across * rows, block % across * cols);
                let (height, width) = (rows.min(m - i), cols.min(n - j));
                // SAFETY: rows i.. of op(a), columns j.. of op(b) and the block of y at (i, j) lie
                // inside their slices by `dims`' check of the shapes; no other block writes this one.
                unsafe {
                    T::gemm(
                        [height, k, width],
                        (a.as_ptr().offset(i as isize * a_row), [a_row, a_col]),
                        (b.as_ptr().offset(j as isize * b_col), [b_row, b_col]),
                        T::zero(),
                        (y.at(i * n + j), [n as isize, 1]),
                    );
                }
                if bias.is_empty() && self.activation == Activation::Identity {
                    return;
                }
                let bias = bias.get(j..j + width).unwrap_or(&[]);
                for row in i..i + height {
                    // SAFETY: a row of this block, which no other block touches.
                    let y = unsafe { std::slice::from_raw_parts_mut(y.at(row * n + j), width) };
                    parallel::simd(
                        #[inline(always)]
                        || epilogue(y, bias, self.activation),
                    );
                }
            });
    }

    fn gpu(&self) -> Dispatch {
        const TILE: usize = 64;
        let [m, k, n] = self.dims();
        let [down, layers] = folded(m.div_ceil(TILE));
        Dispatch {
            constants: vec![
                ("TRANSPOSE_A", self.transpose_a.to_string()),
                ("TRANSPOSE_B", self.transpose_b.to_string()),
                ("BIAS", self.bias.is_some().to_string()),
                ("ACTIVATION", self.activation.code()),
            ],
            dims: vec![m as u32, k as u32, n as u32],
            groups: [n.div_ceil(TILE) as u32, down, layers],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::block_shape;

    #[test]
    fn blocks_share_out_the_products_of_a_dense_layer() {
        for dims in [[128, 784, 512], [784, 128, 512], [128, 512, 784]] {
            let [rows, cols] = block_shape(dims);
            assert!(
                dims[0].div_ceil(rows) * dims[2].div_ceil(cols) >= 2,
                "{dims:?}"
            );
        }
    }

    #[test]
    fn a_block_is_never_empty() {
        for m in [1, 2, 15, 17, 600] {
            for n in [1, 2, 15, 17, 600] {
                for k in [1, 64, 100_000] {
                    let [rows, cols] = block_shape([m, k, n]);
                    assert!(rows >= 1 && cols >= 1 && rows <= m && cols <= n);
                }
            }
        }
    }
}
