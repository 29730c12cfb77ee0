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
//! CPU: panels of y's columns, each the work of one thread, which packs its panel of op(b) and reads
//! op(a) where it lies: see `product.rs`.
//! GPU: a work-group computes a tile of y; 16 columns of op(a) and rows of op(b) at a time pass
//! through workgroup memory; each thread keeps 4×4 sums in registers. A GPU has more places for
//! work-groups than a small y has large tiles, so the tile depends on the shape:
//!
//! | tiles of 64×64 | of 32×32 | tile | parts of k |
//! |---|---|---|---|
//! | 64 or more | | 64×64 | 1 |
//! | fewer | 64 or more | 32×32 | 1 |
//! | fewer | fewer | 32×32 | as many as make 64 work-groups, each of 128 steps or more |
//!
//! With more parts than one (split-K) every part's product goes to scratch memory, and a second
//! dispatch, a column sum, adds them in order. Only a product without bias and activation is cut so.

use super::column_sum::ColumnSumFinish;
use super::parallel::{self, with_activation};
use super::product::{DEPTH, Left, Target, multiply, pack, panel_len, width};
use super::{Activation, Dispatch, Kernel, Step, bias_operand, folded, shader};
use crate::device::cpu::{Memory, ScratchSize};
use crate::plan::{BufferId, Matrix, Operand, View};
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

/// How a GPU cuts a product; the table is the [module](self)'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// Rows and columns of a work-group's tile.
    tile: usize,
    /// Steps along k of a work-group.
    depth: usize,
}

impl Cut {
    /// Of `[m, k] · [k, n]`, along k only if the parts can be `summed`.
    fn of([m, k, n]: [usize; 3], summed: bool) -> Cut {
        /// Work-groups that a GPU is not idle with.
        const BUSY: usize = 64;
        /// Shorter parts would read and write more sums than they save.
        const LEAST_DEPTH: usize = 128;
        /// Steps along k that the tile takes at a time.
        const STEPS: usize = 16;
        let groups = |tile: usize| m.div_ceil(tile) * n.div_ceil(tile);
        if groups(64) >= BUSY {
            return Cut { tile: 64, depth: k };
        }
        let parts = match summed {
            true => BUSY.div_ceil(groups(32)).min(k / LEAST_DEPTH).max(1),
            false => 1,
        };
        let depth = match parts {
            1 => k,
            _ => k.div_ceil(parts).next_multiple_of(STEPS),
        };
        Cut { tile: 32, depth }
    }
}

impl Gemm {
    fn cut(&self) -> Cut {
        let summed = self.bias.is_none() && self.activation == Activation::Identity;
        Cut::of(self.dims(), summed)
    }

    fn dispatch(&self, Cut { tile, depth }: Cut) -> Dispatch {
        let [m, k, n] = self.dims();
        let [down, layers] = folded(m.div_ceil(tile) * k.div_ceil(depth));
        Dispatch {
            constants: vec![
                ("TRANSPOSE_A", self.transpose_a.to_string()),
                ("TRANSPOSE_B", self.transpose_b.to_string()),
                ("TILE", format!("{tile}u")),
                ("BIAS", self.bias.is_some().to_string()),
                ("ACTIVATION", self.activation.code()),
            ],
            dims: [m, k, n, depth].map(|dim| dim as u32).to_vec(),
            groups: [n.div_ceil(tile) as u32, down, layers],
        }
    }

    /// The two dispatches that carry it out on a GPU if k is cut: the parts' products, to `scratch`, and
    /// their sum.
    pub(super) fn split(&self, scratch: BufferId) -> Option<[Step; 2]> {
        let [_, k, _] = self.dims();
        let cut = self.cut();
        let parts = k.div_ceil(cut.depth);
        if parts == 1 {
            return None;
        }
        let elements = self.y.view.len;
        let partial = View {
            buffer: scratch,
            offset: 0,
            len: parts * elements,
        };
        let mut products = Step {
            dispatch: self.dispatch(cut),
            ..Step::of(self.clone())
        };
        let [_, _, y, _] = &mut products.operands[..] else {
            unreachable!("a, b, y and bias")
        };
        y.view = partial;
        let sum = ColumnSumFinish {
            partial: partial.matrix(parts, elements),
            sum: self.y.view,
        };
        Some([products, Step::of(sum)])
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
fn strides(matrix: Matrix, transposed: bool) -> [usize; 2] {
    if transposed {
        [1, matrix.cols]
    } else {
        [matrix.cols, 1]
    }
}

/// Blocks of rows that y is cut into besides its panels of columns, where these are too few to share
/// out evenly. No sum is cut, so bits do not depend on it.
fn row_blocks(rows: usize, panels: usize, threads: usize) -> usize {
    const TASKS_PER_THREAD: usize = 2;
    /// Fewer would not be worth packing a panel for.
    const LEAST_ROWS: usize = 32;
    let tasks = if threads > 1 {
        TASKS_PER_THREAD * threads
    } else {
        1
    };
    tasks.div_ceil(panels).min(rows / LEAST_ROWS).max(1)
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

/// [`epilogue`] on the rows of y that start at `starts`, `cols` wide.
///
/// # Safety
/// Nobody else may touch these rows meanwhile.
pub(super) unsafe fn finish_rows<T: Scalar>(
    y: Target<T>,
    starts: impl Iterator<Item = usize>,
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
            for start in starts {
                // SAFETY: the caller's promise.
                epilogue(unsafe { y.part(start, cols) }, bias, activation);
            }
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

    fn scratch(&self) -> ScratchSize {
        let [_, k, _] = self.dims();
        ScratchSize {
            reals: panel_len::<f32>(k.min(DEPTH)),
            places: k.min(DEPTH),
        }
    }

    fn product(&self) -> Option<[usize; 3]> {
        Some(self.dims())
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let [m, k, n] = self.dims();
        let bias = self.bias.unwrap_or(self.b.view.part(0, 0));
        let (scratch, team, size) = (&memory.scratch, &memory.team, self.scratch());
        let ([a, b, bias], [y]) = memory
            .real
            .access([self.a.view, self.b.view, bias], [self.y.view]);
        let [a_row, a_col] = strides(self.a, self.transpose_a);
        let [b_row, b_col] = strides(self.b, self.transpose_b);
        let panels = n.div_ceil(width::<T>());
        let blocks = row_blocks(m, panels, team.threads());
        let height = m.div_ceil(blocks);
        let y = Target::new(y);
        team.share_out(panels * blocks, |member, task| {
            let first_col = task / blocks * width::<T>();
            let cols = width::<T>().min(n - first_col);
            let rows = task % blocks * height..m.min((task % blocks + 1) * height);
            scratch.with(member, size, |packed, steps| {
                for first in (0..k).step_by(DEPTH) {
                    let depth = DEPTH.min(k - first);
                    let steps = &mut steps[..depth];
                    steps
                        .iter_mut()
                        .enumerate()
                        .for_each(|(p, step)| *step = (first + p) * a_col);
                    let b = &b[first * b_row + first_col * b_col..];
                    let b = pack(b, [b_row, b_col], [depth, cols], packed);
                    let a = Left {
                        values: a,
                        row: |i| i * a_row,
                        steps,
                    };
                    // SAFETY: no other task has these rows and columns.
                    unsafe { multiply(rows.clone(), a, b, y, |i| i * n + first_col, first > 0) };
                }
            });
            let bias = bias.get(first_col..first_col + cols).unwrap_or(&[]);
            // SAFETY: as above.
            unsafe {
                finish_rows(
                    y,
                    rows.map(|i| i * n + first_col),
                    cols,
                    bias,
                    self.activation,
                )
            };
        });
    }

    fn gpu(&self) -> Dispatch {
        let [_, k, _] = self.dims();
        self.dispatch(Cut {
            depth: k,
            ..self.cut()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, row_blocks};

    #[test]
    fn products_with_few_tiles_are_cut_smaller_and_then_along_their_depth() {
        let cut = |dims| Cut::of(dims, true);
        // Enough tiles of either size; deep parts, in whole steps; too short to be cut.
        assert_eq!(
            cut([512, 3136, 512]),
            Cut {
                tile: 64,
                depth: 3136
            }
        );
        assert_eq!(
            cut([128, 784, 512]),
            Cut {
                tile: 32,
                depth: 784
            }
        );
        assert_eq!(
            cut([128, 3136, 64]),
            Cut {
                tile: 32,
                depth: 400
            }
        );
        assert_eq!(
            cut([64, 255, 64]),
            Cut {
                tile: 32,
                depth: 255
            }
        );
        for k in [256, 257, 1000, 3136] {
            for [m, n] in [[1, 1], [33, 129], [128, 64], [224, 288]] {
                let Cut { tile, depth } = cut([m, k, n]);
                let parts = k.div_ceil(depth);
                let groups = m.div_ceil(tile) * n.div_ceil(tile) * parts;
                assert!(parts > 1 && depth >= 128 && groups < 128, "{m}×{k}×{n}");
                let whole = Cut::of([m, k, n], false);
                assert_eq!(whole, Cut { tile, depth: k });
            }
        }
    }

    #[test]
    fn products_of_few_panels_are_shared_out_by_rows_too() {
        for threads in [2, 8] {
            for panels in [1, 2, 3, 25] {
                let blocks = row_blocks(4096, panels, threads);
                assert!(
                    panels * blocks >= 2 * threads,
                    "{panels} panels, {threads} threads"
                );
            }
        }
        assert_eq!(row_blocks(4096, 2, 1), 1, "one thread need not share");
        assert_eq!(row_blocks(31, 1, 8), 1, "too few rows to share");
    }
}
