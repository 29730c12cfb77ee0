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
//! CPU: a task is some panels of y's columns and a block of its rows; it packs these panels of op(b), where
//! that pays, and reads op(a) where it lies: see `product.rs`. Threads begin with columns of their own, those
//! of a weight gradient with rows.
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

mod cut;
mod library;

use super::activation::with_activation;
use super::parallel;
use super::product::{DEPTH, Left, Next, Panels, Target, fill, multiply, pack, panel_len, width};
use super::{Activation, Dispatch, Kernel, Step, bias_operand, shader, with_epilogue};
use crate::buffer::{BufferId, Matrix, Operand, View};
use crate::kernels::host::Team;
use crate::kernels::host::{Memory, Products, Scratch, ScratchSize};
use crate::scalar::Scalar;

/// The definition: one element, in f64; bias and the activation's own definition follow.
pub mod definition {
    /// Element (i, j) of op(a) · op(b), whose elements `a(i, p)` and `b(p, j)` are.
    pub fn product(
        a: impl Fn(usize, usize) -> f64,
        b: impl Fn(usize, usize) -> f64,
        k: usize,
        [i, j]: [usize; 2],
    ) -> f64 {
        let mut y = 0.0;
        for p in 0..k {
            y += a(i, p) * b(p, j);
        }
        y
    }
}

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

impl Gemm {
    /// Some panels of op(b) at a time.
    fn by_panels<T: Scalar>(
        &self,
        [a, b, bias]: [&[T]; 3],
        y: Target<T>,
        scratch: &Scratch<T>,
        team: &Team,
    ) {
        let [m, k, n] = self.dims();
        let [a_row, a_col] = strides(self.a, self.transpose_a);
        let [b_row, b_col] = strides(self.b, self.transpose_b);
        let in_place = b_col == 1 && (m <= IN_PLACE_ROWS || k <= IN_PLACE_DEPTH);
        let [mut height, across] = task_size::<T>(self.dims(), in_place, team.threads());
        // A weight gradient's rows belong to threads, as they do when the weight is updated, and when the
        // data gradient reads them.
        if self.transpose_a && m >= LEAST_OWN_ROWS * team.threads() {
            height = height.min(m.div_ceil(team.threads()));
        }
        let (blocks, strips) = (m.div_ceil(height), n.div_ceil(across));
        // The columns of a transposed a lie a row apart: the processor does not see them coming, and a narrow
        // b is not multiplied long enough to hide it. So some rows of y at a time, while the next are asked for.
        let rows_at_a_time = if self.transpose_a && n <= NARROW_PANELS * width::<T>() {
            ROWS_AT_A_TIME
        } else {
            height
        };
        // What is read of a transposed a, for the rows of y from `row` on and a block of k.
        let part_of_a = |row: usize, col: usize| Next {
            values: &a[col * a_col + row..],
            stride: a_col,
            pieces: DEPTH.min(k - col),
            len: rows_at_a_time.min(m - row),
        };
        // What a task reads of b, from a row and a column on.
        let part_of_b = |row: usize, col: usize| {
            let (depth, cols) = (DEPTH.min(k - row), across.min(n.saturating_sub(col)));
            let (stride, pieces, len) = match b_row {
                1 => (b_col, cols, depth),
                _ => (b_row, depth, cols),
            };
            let values = b.get(row * b_row + col * b_col..).unwrap_or(&[]);
            Next {
                values,
                stride,
                pieces,
                len,
            }
        };
        team.share_out(strips * blocks, |member, task| {
            let [strip, block] = if self.transpose_a {
                [task % strips, task / strips]
            } else {
                [task / blocks, task % blocks]
            };
            let first_col = strip * across;
            let cols = across.min(n - first_col);
            let rows = block * height..m.min((block + 1) * height);
            let in_place = in_place && Panels::<T>::fit_in_place(cols);
            scratch.with(member, self.scratch(), |packed, steps| {
                for first in (0..k).step_by(DEPTH) {
                    let depth = DEPTH.min(k - first);
                    let steps = &mut steps[..depth];
                    fill(steps, (first..).map(|p| p * a_col));
                    let next = match first + depth {
                        done if done < k => part_of_b(done, first_col),
                        _ => part_of_b(0, first_col + cols),
                    };
                    let b = &b[first * b_row + first_col * b_col..];
                    let b = if in_place {
                        Panels::in_place(b, b_row, cols)
                    } else {
                        pack(b, [b_row, b_col], [depth, cols], packed)
                    };
                    let left = Left {
                        values: a,
                        row: |i| i * a_row,
                        steps,
                    };
                    for row in rows.clone().step_by(rows_at_a_time) {
                        let now = row..rows.end.min(row + rows_at_a_time);
                        let b = b.before(match now.end {
                            end if end < rows.end => part_of_a(end, first),
                            _ => next,
                        });
                        // SAFETY: no other task has these rows and columns.
                        unsafe { multiply(now, left, b, y, |i| i * n + first_col, first > 0) };
                    }
                }
            });
            let bias = bias.get(first_col..first_col + cols).unwrap_or(&[]);
            let starts = rows.map(|i| i * n + first_col);
            // SAFETY: as above.
            unsafe { finish_rows(y, starts, cols, bias, self.activation) };
        });
    }

    /// `yᵀ = op(b)ᵀ · op(a)ᵀ`, for a transposed b and a y of few rows: b, the larger factor, is read
    /// where it lies, and what has to be packed and turned over is small. The same sums in the same
    /// order, so the same bits.
    fn swapped<T: Scalar>(
        &self,
        [a, b, bias]: [&[T]; 3],
        y: Target<T>,
        scratch: &Scratch<T>,
        team: &Team,
    ) {
        let [m, k, n] = self.dims();
        let [a_row, a_col] = strides(self.a, self.transpose_a);
        // One task a thread, where that will do: each packs a.
        let height = n.div_ceil(team.threads()).min(SWAPPED_ROWS);
        team.share_out(n.div_ceil(height), |member, task| {
            let cols = task * height..n.min((task + 1) * height);
            scratch.with(member, self.scratch(), |reals, steps| {
                let (packed, turned) = reals.split_at_mut(panel_len::<T>(k.min(DEPTH)));
                let target = Target::new(turned);
                for first in (0..k).step_by(DEPTH) {
                    let steps = &mut steps[..DEPTH.min(k - first)];
                    fill(steps, first..k);
                    let a = pack(
                        &a[first * a_col..],
                        [a_col, a_row],
                        [steps.len(), m],
                        packed,
                    );
                    let b = Left {
                        values: b,
                        row: |j| (cols.start + j) * k,
                        steps,
                    };
                    let row = |j| j * width::<T>();
                    // SAFETY: the scratch memory is this task's alone.
                    unsafe { multiply(0..cols.len(), b, a, target, row, first > 0) };
                }
                for i in 0..m {
                    // SAFETY: no other task has these columns.
                    let y = unsafe { y.part(i * n + cols.start, cols.len()) };
                    let column = turned[i..].iter().step_by(width::<T>());
                    y.iter_mut().zip(column).for_each(|(y, &value)| *y = value);
                }
            });
            let bias = bias.get(cols.clone()).unwrap_or(&[]);
            let starts = (0..m).map(|i| i * n + cols.start);
            // SAFETY: as above.
            unsafe { finish_rows(y, starts, cols.len(), bias, self.activation) };
        });
    }
}

fn logical(matrix: Matrix, transposed: bool) -> [usize; 2] {
    if transposed {
        [matrix.cols, matrix.rows]
    } else {
        [matrix.rows, matrix.cols]
    }
}

/// Rows of y up to which op(b) is not packed: its panels are read too seldom to make up for it.
const IN_PLACE_ROWS: usize = 128;
/// Depth up to which it is not packed either.
const IN_PLACE_DEPTH: usize = 64;
/// Rows of a weight gradient, at least, for each thread to have some of its own.
const LEAST_OWN_ROWS: usize = 32;
/// Panels of b, at most, that are multiplied faster than a transposed a comes unasked,
const NARROW_PANELS: usize = 2;
/// and rows of y that it is asked for at a time.
const ROWS_AT_A_TIME: usize = 32;
/// Columns of y, at most, that a task of [`Gemm::swapped`] makes.
const SWAPPED_ROWS: usize = 256;

/// Row and column stride of op(matrix).
fn strides(matrix: Matrix, transposed: bool) -> [usize; 2] {
    if transposed {
        [1, matrix.cols]
    } else {
        [matrix.cols, 1]
    }
}

/// Rows and columns of y that a task makes: some panels side by side, so that longer pieces of y's lines
/// are written and a is read once for all of them, yet tasks enough that threads end at about the same
/// time. No sum is cut, so bits do not depend on it.
fn task_size<T>([m, k, n]: [usize; 3], in_place: bool, threads: usize) -> [usize; 2] {
    /// Depth of all panels that a task has side by side.
    const STRIP: usize = DEPTH / 2;
    const TASKS_PER_THREAD: usize = 2;
    let tasks = if threads > 1 {
        TASKS_PER_THREAD * threads
    } else {
        1
    };
    // What is packed is packed again for each block of rows.
    let least_rows = if in_place { 32 } else { 256 };
    let most_blocks = (m / least_rows).max(1);
    let panels = n.div_ceil(width::<T>());
    let strips = panels
        .div_ceil((STRIP / k).max(1))
        .max(tasks.div_ceil(most_blocks));
    let across = if strips > 1 {
        panels.div_ceil(strips.next_multiple_of(threads))
    } else {
        panels
    };
    let blocks = tasks.div_ceil(panels.div_ceil(across)).min(most_blocks);
    [m.div_ceil(blocks), across * width::<T>()]
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
unsafe fn finish_rows<T: Scalar>(
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

/// [`epilogue`] on all of `y`, rows of as many columns as there are biases.
pub(super) fn finish_block<T: Scalar>(y: &mut [T], bias: &[T], activation: Activation) {
    if bias.is_empty() && activation == Activation::Identity {
        return;
    }
    parallel::simd(
        #[inline(always)]
        || match *bias {
            [] => epilogue(y, bias, activation),
            // Rows of one element: vectors run over many of them.
            [bias] => with_activation!(activation, F => {
                y.iter_mut().for_each(|y| *y = F.apply(*y + bias));
            }),
            _ => {
                let rows = y.chunks_exact_mut(bias.len());
                rows.for_each(|y| epilogue(y, bias, activation));
            }
        },
    );
}

impl Kernel for Gemm {
    const NAME: &'static str = "gemm";
    const SHADER: &'static str = shader!(
        "shared/exp_minus_one",
        "shared/activation",
        "shared/tile",
        "gemm"
    );

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("a", self.a),
            Operand::read("b", self.b),
            Operand::write("y", self.y),
            bias_operand(self.bias, self.b.view),
        ]
    }

    fn formula(&self) -> String {
        let sign = |transposed| if transposed { "ᵀ" } else { "" };
        let [a, b] = [self.transpose_a, self.transpose_b].map(sign);
        with_epilogue(&format!("a{a}·b{b}"), self.bias, self.activation)
    }

    fn flops(&self) -> u64 {
        let [m, k, n] = self.dims().map(|dim| dim as u64);
        let epilogue = u64::from(self.bias.is_some()) + self.activation.flops();
        m * n * (2 * k + epilogue)
    }

    fn product(&self) -> Option<[usize; 3]> {
        Some(self.dims())
    }

    fn scratch(&self) -> ScratchSize {
        let [_, k, _] = self.dims();
        ScratchSize {
            reals: panel_len::<f32>(DEPTH) + panel_len::<f32>(SWAPPED_ROWS),
            places: k.min(DEPTH),
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        if memory.products == Products::Matrixmultiply {
            return self.by_library(memory);
        }
        let bias = self.bias.unwrap_or(self.b.view.part(0, 0));
        let ([a, b, bias], [y]) = memory
            .real
            .access([self.a.view, self.b.view, bias], [self.y.view]);
        let y = Target::new(y);
        let [m, ..] = self.dims();
        // Fewer rows would leave most of a vector idle, of more the product outweighs packing b.
        let few = width::<T>() / 4 + 1..=width::<T>();
        if self.transpose_b && few.contains(&m) {
            self.swapped([a, b, bias], y, &memory.scratch, &memory.team);
        } else {
            self.by_panels([a, b, bias], y, &memory.scratch, &memory.team);
        }
    }

    fn gpu(&self) -> Dispatch {
        self.whole()
    }

    fn steps(&self, scratch: BufferId) -> Vec<Step> {
        self.split(scratch)
            .map_or_else(|| vec![Step::of(self)], Vec::from)
    }
}

#[cfg(test)]
mod tests {
    use super::{task_size, width};

    #[test]
    fn small_products_are_shared_out_too() {
        for threads in [2, 8] {
            for [m, k, n] in [
                [4096, 128, 64],
                [4096, 1, 32],
                [1, 784, 512],
                [1, 16, 512],
                [784, 1, 512],
            ] {
                for in_place in [false, true] {
                    let [rows, cols] = task_size::<f32>([m, k, n], in_place, threads);
                    let tasks = m.div_ceil(rows) * n.div_ceil(cols);
                    let blocks = m / if in_place { 32 } else { 256 };
                    let possible = blocks.max(1) * n.div_ceil(width::<f32>());
                    assert!(
                        tasks >= possible.min(2 * threads),
                        "{m}×{k}×{n}, {threads} threads: {tasks}"
                    );
                }
            }
        }
        assert_eq!(task_size::<f32>([4096, 8, 64], true, 1), [4096, 64]);
    }
}
