//! Column sums in two passes: the gradient of a bias.
//!
//! ```text
//! partial[b, c] = Σ_{r in block b} x[r, c]        x [R, C], blocks of ROWS_PER_BLOCK rows
//! sum[c]        = Σ_b partial[b, c]
//! ```

use super::parallel::{Columns, chunks_of, each_column, each_part, piece};
use super::{Dispatch, GROUP, Kernel, ROWS_PER_BLOCK, parallel, shader};
use crate::buffer::{Matrix, Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: one column, in f64.
pub mod definition {
    /// Σ x, of some of its rows or of their blocks' sums.
    pub fn sum(x: impl IntoIterator<Item = f64>) -> f64 {
        x.into_iter().sum()
    }
}

/// Blocks that `rows` rows are cut into.
pub fn blocks(rows: usize) -> usize {
    rows.div_ceil(ROWS_PER_BLOCK)
}

/// Work-groups of a partial kernel: x covers the columns, y the blocks, folded into z where there
/// are more than WebGPU's 65,535 of them.
pub(super) fn partial_groups(rows: usize, cols: usize) -> [u32; 3] {
    const LIMIT: usize = 65_535;
    let layers = blocks(rows).div_ceil(LIMIT);
    [
        cols.div_ceil(GROUP) as u32,
        blocks(rows).div_ceil(layers) as u32,
        layers as u32,
    ]
}

/// The first pass.
#[derive(Clone, Debug)]
pub struct ColumnSumPartial {
    /// `[R, C]`
    pub x: Matrix,
    /// `[blocks, C]`
    pub partial: View,
}

impl Kernel for ColumnSumPartial {
    const NAME: &'static str = "column_sum_partial";
    const SHADER: &'static str =
        shader!([ROWS_PER_BLOCK = ROWS_PER_BLOCK] "shared/column_of_block", "column_sum_partial");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.x),
            Operand::write("partial", self.partial),
        ]
    }

    fn flops(&self) -> u64 {
        self.x.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let cols = self.x.cols;
        let ([x], [partial]) = memory.real.access([self.x.view], [self.partial]);
        if cols == 1 {
            let sums = chunks_of(partial, BLOCKS_AT_A_TIME);
            each_part(&memory.team, sums, |_, index, sums| {
                sum_blocks(&x[index * BLOCKS_AT_A_TIME * ROWS_PER_BLOCK..], sums);
            });
            return;
        }
        let blocks = chunks_of(partial, cols);
        each_part(&memory.team, blocks, |_, index, partial| {
            let first = index * ROWS_PER_BLOCK * cols;
            let end = x.len().min(first + ROWS_PER_BLOCK * cols);
            sum_columns(&x[first..end], cols, partial);
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.x.rows as u32, self.x.cols as u32],
            groups: partial_groups(self.x.rows, self.x.cols),
        }
    }
}

/// The second pass.
#[derive(Clone, Debug)]
pub struct ColumnSumFinish {
    /// `[blocks, C]`
    pub partial: Matrix,
    /// `[C]`
    pub sum: View,
}

impl Kernel for ColumnSumFinish {
    const NAME: &'static str = "column_sum_finish";
    const SHADER: &'static str = shader!([] "shared/element", "column_sum_finish");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("partial", self.partial),
            Operand::write("sum", self.sum),
        ]
    }

    fn flops(&self) -> u64 {
        self.partial.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let cols = self.partial.cols;
        let ([partial], [sum]) = memory.real.access([self.partial.view], [self.sum]);
        parallel::chunks(&memory.team, sum, 1, |first, sum| {
            sum_columns(&partial[first..], cols, sum);
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.partial.rows as u32, self.partial.cols as u32],
            groups: super::linear_groups(self.partial.cols),
        }
    }
}

/// Blocks of a single column that are summed together.
const BLOCKS_AT_A_TIME: usize = 8;

/// Sums of blocks of a single column. An addition takes as long as several at a time would.
fn sum_blocks<T: Scalar>(x: &[T], sums: &mut [T]) {
    let (whole, _) = x.as_chunks::<ROWS_PER_BLOCK>();
    match (whole.first_chunk::<BLOCKS_AT_A_TIME>(), sums.len()) {
        (Some(blocks), BLOCKS_AT_A_TIME) => {
            let mut totals = [T::zero(); BLOCKS_AT_A_TIME];
            for row in 0..ROWS_PER_BLOCK {
                for (total, block) in totals.iter_mut().zip(blocks) {
                    *total += block[row];
                }
            }
            sums.copy_from_slice(&totals);
        }
        _ => {
            for (sum, block) in sums.iter_mut().zip(x.chunks(ROWS_PER_BLOCK)) {
                *sum = block.iter().fold(T::zero(), |sum, &x| sum + x);
            }
        }
    }
}

/// Sums of the first columns of a matrix, as many as there is room for; its rows lie `cols` apart. They are
/// added first to last.
pub(super) fn sum_columns<T: Scalar>(rows: &[T], cols: usize, sum: &mut [T]) {
    each_column(sum.len(), ColumnSums { rows, cols, sum });
}

struct ColumnSums<'a, T> {
    rows: &'a [T],
    cols: usize,
    sum: &'a mut [T],
}

impl<T: Scalar> Columns for ColumnSums<'_, T> {
    #[inline(always)]
    fn run<const WIDTH: usize>(&mut self, first: usize) {
        let mut sum = [T::zero(); WIDTH];
        for row in self.rows.chunks(self.cols) {
            let row: &[T; WIDTH] = piece(row, first);
            for i in 0..WIDTH {
                sum[i] += row[i];
            }
        }
        self.sum[first..first + WIDTH].copy_from_slice(&sum);
    }
}
