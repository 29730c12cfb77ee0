//! The matrix product of the crate `matrixmultiply`: what our own tiles are compared with.
//!
//! The crate multiplies matrices with any two strides, so a transposed factor needs no copy. It sums
//! along k in blocks, in order, for any number of rows and columns: cutting y into rows for threads changes
//! no bit.

use crate::scalar::Scalar;

/// A factor: element (i, j) is `values[i · strides[0] + j · strides[1]]`.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a, T> {
    pub values: &'a [T],
    pub strides: [usize; 2],
}

impl<T> Factor<'_, T> {
    /// Panics unless `rows` by `cols` elements lie inside.
    fn check(&self, rows: usize, cols: usize) {
        let [row, col] = self.strides;
        assert!((rows - 1) * row + (cols - 1) * col < self.values.len());
    }
}

/// `y [m, n] = a [m, k] · b [k, n]`, or added to it; y is row-major.
pub(super) fn product<T: Scalar>(
    [m, k, n]: [usize; 3],
    a: Factor<'_, T>,
    b: Factor<'_, T>,
    y: &mut [T],
    accumulate: bool,
) {
    assert!(y.len() == m * n && k > 0, "[{m}, {k}] · [{k}, {n}]");
    if y.is_empty() {
        return;
    }
    a.check(m, k);
    b.check(k, n);
    let [a_row, a_col] = a.strides.map(|stride| stride as isize);
    let [b_row, b_col] = b.strides.map(|stride| stride as isize);
    macro_rules! call {
        ($gemm:path, $real:ty) => {{
            let (a, b): (&[$real], &[$real]) = (
                bytemuck::cast_slice(a.values),
                bytemuck::cast_slice(b.values),
            );
            let y: &mut [$real] = bytemuck::cast_slice_mut(y);
            let kept = if accumulate { 1.0 } else { 0.0 };
            let (a, b, y) = (a.as_ptr(), b.as_ptr(), y.as_mut_ptr());
            // SAFETY: both factors lie inside their slices by the checks above, and y is borrowed for
            // writing.
            unsafe {
                $gemm(
                    m, k, n, 1.0, a, a_row, a_col, b, b_row, b_col, kept, y, n as isize, 1,
                )
            }
        }};
    }
    match T::NAME {
        "f32" => call!(matrixmultiply::sgemm, f32),
        _ => call!(matrixmultiply::dgemm, f64),
    }
}
