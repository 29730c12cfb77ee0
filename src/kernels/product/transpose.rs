//! Packing a panel of a transposed matrix.

use super::layout::{panel_len, width};
use super::prefetch::{READ, line, prefetch};
use crate::scalar::Scalar;

/// Rows and columns that are turned over at a time: whole vectors of the smallest kind.
const SIDE: usize = 4;

/// Element (p, j), at `p + j · col` of `b`, to `p · width + j` of `packed`, the rest of its lines filled up
/// with zeros.
///
/// Lines of b are read whole, one column's after the other's: where columns lie a power of two apart, a
/// cache has not room for many of them at a time. Each comes from another place, and the processor does not
/// see it coming: the next line of each column, or the first of a next panel, is asked for.
pub(super) fn transpose<T: Scalar>(
    b: &[T],
    col: usize,
    [rows, cols]: [usize; 2],
    packed: &mut [T],
) {
    assert!(
        (cols - 1) * col + rows <= b.len() && panel_len::<T>(rows) == packed.len(),
        "{cols} columns of {rows}"
    );
    let width = width::<T>();
    if cols < width {
        packed.fill(T::zero());
    }
    let blocks = packed.chunks_mut(panel_len::<T>(line::<T>()));
    for (first_row, packed) in (0..rows).step_by(line::<T>()).zip(blocks) {
        let next = match first_row + line::<T>() {
            next if next < rows => next,
            _ => cols * col,
        };
        for j in 0..cols {
            prefetch::<READ, T>(b.as_ptr().wrapping_add(next + j * col));
        }
        let from = &b[first_row..];
        let height = line::<T>().min(rows - first_row);
        let in_squares = [height, cols].map(|side| side - side % SIDE);
        for first_col in (0..in_squares[1]).step_by(SIDE) {
            for row in (0..in_squares[0]).step_by(SIDE) {
                // SAFETY: SIDE columns of `height` rows are inside `from` by the assertion, and `packed` has
                // `height` whole lines. (Checked one by one, these accesses take longer than the shuffles.)
                unsafe {
                    let column = |j| from.as_ptr().add(row + (first_col + j) * col);
                    let square =
                        [0, 1, 2, 3].map(|j| column(j).cast::<[T; SIDE]>().read_unaligned());
                    for (i, line) in turned(square).into_iter().enumerate() {
                        let place = packed.as_mut_ptr().add((row + i) * width + first_col);
                        place.cast::<[T; SIDE]>().write_unaligned(line);
                    }
                }
            }
        }
        if in_squares == [height, cols] {
            continue;
        }
        for (i, line) in packed.chunks_exact_mut(width).enumerate() {
            let first = if i < in_squares[0] { in_squares[1] } else { 0 };
            for (j, place) in line.iter_mut().enumerate().take(cols).skip(first) {
                *place = from[j * col + i];
            }
        }
    }
}

/// Rows for columns.
#[inline(always)]
fn turned<T: Scalar>(square: [[T; SIDE]; SIDE]) -> [[T; SIDE]; SIDE] {
    // Compilers move the sixteen numbers one by one.
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 4 {
        use std::arch::x86_64::{
            __m128, _mm_movehl_ps, _mm_movelh_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
        };
        let [a, b, c, d]: [__m128; SIDE] = bytemuck::cast(square);
        // SAFETY: every x86-64 has SSE.
        return bytemuck::cast(unsafe {
            let (ab0, ab1) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
            let (cd0, cd1) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
            [
                _mm_movelh_ps(ab0, cd0),
                _mm_movehl_ps(cd0, ab0),
                _mm_movelh_ps(ab1, cd1),
                _mm_movehl_ps(cd1, ab1),
            ]
        });
    }
    std::array::from_fn(|i| std::array::from_fn(|j| square[j][i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns_every_element_over<T: Scalar>() {
        let width = width::<T>();
        for rows in [1, 3, 4, 5, 16, 33] {
            for cols in [1, 3, 4, 7, width - 1, width] {
                let col = rows + 2;
                let b: Vec<T> = (1..=cols * col).map(|i| T::of(i as f64)).collect();
                let mut packed = vec![T::nan(); rows * width];
                transpose(&b, col, [rows, cols], &mut packed);
                for (place, &value) in packed.iter().enumerate() {
                    let (p, j) = (place / width, place % width);
                    let expected = if j < cols { b[p + j * col] } else { T::zero() };
                    assert!(value == expected, "{rows}×{cols}: ({p}, {j}) is {value}");
                }
            }
        }
    }

    #[test]
    fn every_element_of_a_ragged_panel_is_turned_over() {
        turns_every_element_over::<f32>();
        turns_every_element_over::<f64>();
    }
}
