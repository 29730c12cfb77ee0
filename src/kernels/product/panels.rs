//! The right factor's panels: packed, or where they lie.

use std::ops::Range;

use super::layout::{packed_len, panel_len, width};
use super::prefetch::{READ_LATER, line, prefetch};
use super::transpose::transpose;
use crate::scalar::Scalar;

/// Some columns of b, over some of its rows: panels of [`width`] columns side by side.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Panels<'a, T> {
    /// From the first element on.
    pub(super) values: &'a [T],
    /// From one row to the next.
    pub(super) row: usize,
    /// From one panel to the next.
    pub(super) panel: usize,
    /// Columns.
    pub(super) cols: usize,
    /// Asked for meanwhile.
    pub(super) next: Next<'a, T>,
}

/// What is read after some panels: pieces of a matrix. It comes from memory while they are multiplied.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Next<'a, T> {
    /// From the first element on.
    pub values: &'a [T],
    /// From one piece to the next.
    pub stride: usize,
    /// Their number.
    pub pieces: usize,
    /// Elements of each.
    pub len: usize,
}

impl<T> Next<'_, T> {
    /// Nothing.
    const NONE: Self = Next {
        values: &[],
        stride: 0,
        pieces: 0,
        len: 0,
    };

    /// Asks for some of the pieces.
    #[inline(always)]
    pub(super) fn prefetch(&self, pieces: Range<usize>) {
        for piece in pieces {
            for first in (0..self.len).step_by(line::<T>()) {
                let place = self
                    .values
                    .as_ptr()
                    .wrapping_add(piece * self.stride + first);
                prefetch::<READ_LATER, T>(place);
            }
        }
    }
}

impl<'a, T> Panels<'a, T> {
    /// Whether so many columns can be read where they lie: only whole vectors are.
    pub fn fit_in_place(cols: usize) -> bool {
        cols.is_multiple_of(width::<T>() / 2)
    }

    /// Columns read where they lie, `row` from one row to the next.
    pub fn in_place(values: &'a [T], row: usize, cols: usize) -> Self {
        assert!(Self::fit_in_place(cols), "{cols} columns are packed");
        Panels {
            values,
            row,
            panel: width::<T>(),
            cols,
            next: Next::NONE,
        }
    }

    /// `rows` by `cols` that [`pack`] has written.
    pub fn packed(values: &'a [T], [rows, cols]: [usize; 2]) -> Self {
        Panels {
            values: &values[..packed_len::<T>(rows, cols)],
            row: width::<T>(),
            panel: panel_len::<T>(rows),
            cols,
            next: Next::NONE,
        }
    }

    /// With what comes after them.
    pub fn before(self, next: Next<'a, T>) -> Self {
        Panels { next, ..self }
    }
}

/// Copies `rows` by `cols` of a matrix, element (p, j) at `p · row + j · col` of `b`, into packed panels,
/// one after the other, the last filled up with zeros. One of the two strides is 1.
pub(in crate::kernels) fn pack<'a, T: Scalar>(
    b: &[T],
    strides: [usize; 2],
    [rows, cols]: [usize; 2],
    packed: &'a mut [T],
) -> Panels<'a, T> {
    let panels = packed.chunks_exact_mut(panel_len::<T>(rows));
    for (first, panel) in (0..cols).step_by(width::<T>()).zip(panels) {
        let cols = width::<T>().min(cols - first);
        pack_panel(&b[first * strides[1]..], strides, [rows, cols], panel);
    }
    Panels::packed(packed, [rows, cols])
}

/// [`pack`] of one panel.
fn pack_panel<T: Scalar>(
    b: &[T],
    [row, col]: [usize; 2],
    [rows, cols]: [usize; 2],
    packed: &mut [T],
) {
    let lines = packed.chunks_exact_mut(width::<T>());
    match row {
        1 => transpose(b, col, [rows, cols], packed),
        // A length known to the compiler: a few vector moves instead of a call.
        _ if cols == width::<T>() => {
            for (packed, b) in lines.zip(b.chunks(row)) {
                packed.copy_from_slice(&b[..width::<T>()]);
            }
        }
        _ => {
            for (packed, b) in lines.zip(b.chunks(row)) {
                let (values, padding) = packed.split_at_mut(cols);
                values.copy_from_slice(&b[..cols]);
                padding.fill(T::zero());
            }
        }
    }
}
