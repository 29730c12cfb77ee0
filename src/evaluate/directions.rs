//! The directions in which rows differ most.

use nalgebra::DMatrix;

/// An orthonormal basis of nearly the first `count` principal directions of `rows` (about the origin),
/// each `width` long: `[width, count + 1]`, of which the last column is zero.
///
/// By subspace iteration, `V ← orthonormal(XᵀX V)`: a few rounds give directions that hold nearly as
/// much of the rows as the principal ones do.
pub fn principal(rows: &[f32], [width, count]: [usize; 2]) -> Vec<f32> {
    const ROUNDS: usize = 4;
    let x = DMatrix::from_row_iterator(
        rows.len() / width,
        width,
        rows.iter().map(|&value| f64::from(value)),
    );
    let transposed = x.transpose();
    // Begun with rows themselves, over again where they are fewer.
    let first = (0..count).map(|column| transposed.column(column % x.nrows()));
    let mut basis = DMatrix::from_columns(&first.collect::<Vec<_>>());
    for _ in 0..ROUNDS {
        basis = (&transposed * (&x * basis)).qr().q();
    }
    let columns = (0..width).flat_map(|row| (0..=count).map(move |column| (row, column)));
    let at = |place| basis.get(place).map_or(0.0, |&value| value as f32);
    columns.map(at).collect()
}
