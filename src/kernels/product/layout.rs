//! How packed panels of the right factor lie in memory.

/// Bytes of a packed row of b: two of the widest vectors.
const PANEL_BYTES: usize = 128;

/// Columns of a panel.
pub(in crate::kernels) const fn width<T>() -> usize {
    PANEL_BYTES / size_of::<T>()
}

/// Reals that `rows` rows of a packed panel take.
pub(in crate::kernels) const fn panel_len<T>(rows: usize) -> usize {
    rows * width::<T>()
}

/// Reals that `rows` by `cols` take, packed.
pub(in crate::kernels) const fn packed_len<T>(rows: usize, cols: usize) -> usize {
    cols.div_ceil(width::<T>()) * panel_len::<T>(rows)
}
