//! Patches (im2col) and their adjoint (col2im) on the CPU, a tile at a time.
//!
//! ```text
//! gather    patch[o, t, c] = x[under(o, t), c], zeros in the padding
//! scatter   dx[i, c]      += patch[o, t, c] for every window o and tap t that falls on i
//!
//! x, dx [N·H·W, C];  patches [rows, taps, C], rows of the smaller side
//! ```
//! Channels last, a patch is one run of memory per row of taps wherever it lies inside the image.

use super::window::Window;
use crate::scalar::Scalar;

/// Writes rows `first..` of `patches(x)` restricted to the taps' rows `taps`, as many as `target`
/// holds.
///
/// `target` is `[rows, taps.len() · KW · C]`.
#[inline(always)]
pub(super) fn gather_patches<T: Scalar>(
    window: &Window,
    channels: usize,
    x: &[T],
    first: usize,
    taps: std::ops::Range<usize>,
    target: &mut [T],
) {
    let [_, map_cols] = window.map();
    let area = window.map_area();
    let line = window.kernel[1] * channels;
    for (place, patch) in (first..).zip(target.chunks_exact_mut(line * taps.len())) {
        let (image, inside) = (place / area, place % area);
        let (row, col) = (inside / map_cols, inside % map_cols);
        for (tap, target) in taps.clone().zip(patch.chunks_exact_mut(line)) {
            match window.under(0, row, tap) {
                None => target.fill(T::zero()),
                Some(there) => {
                    let start = (image * window.size[0] + there) * window.size[1];
                    let x = &x[start * channels..][..window.size[1] * channels];
                    gather_line(window, channels, x, col, target);
                }
            }
        }
    }
}

/// One row of taps over the line `x` of an image.
#[inline(always)]
fn gather_line<T: Scalar>(window: &Window, channels: usize, x: &[T], col: usize, target: &mut [T]) {
    let inner = (col * window.stride[1]).checked_sub(window.padding[1]);
    if let (1, Some(start)) = (window.dilation[1], inner)
        && start + window.kernel[1] <= window.size[1]
    {
        // The common case: all taps lie side by side inside the image.
        target.copy_from_slice(&x[start * channels..][..target.len()]);
        return;
    }
    for (tap, target) in target.chunks_exact_mut(channels).enumerate() {
        match window.under(1, col, tap) {
            Some(there) => target.copy_from_slice(&x[there * channels..][..channels]),
            None => target.fill(T::zero()),
        }
    }
}

/// Adds rows `first..` of patches to where they came from: [`gather_patches`]' adjoint, on one block
/// of images.
#[inline(always)]
pub(super) fn scatter_patches<T: Scalar>(
    window: &Window,
    channels: usize,
    patches: &[T],
    first: usize,
    dx: &mut [T],
) {
    let [_, map_cols] = window.map();
    let area = window.map_area();
    let line = window.kernel[1] * channels;
    for (place, patch) in (first..).zip(patches.chunks_exact(line * window.kernel[0])) {
        let (image, inside) = (place / area, place % area);
        let (row, col) = (inside / map_cols, inside % map_cols);
        for (tap, patch) in patch.chunks_exact(line).enumerate() {
            let Some(there) = window.under(0, row, tap) else {
                continue;
            };
            let start = (image * window.size[0] + there) * window.size[1];
            let dx = &mut dx[start * channels..][..window.size[1] * channels];
            scatter_line(window, channels, patch, col, dx);
        }
    }
}

/// Adds one row of taps to the line `dx` of an image.
#[inline(always)]
fn scatter_line<T: Scalar>(
    window: &Window,
    channels: usize,
    patch: &[T],
    col: usize,
    dx: &mut [T],
) {
    let add = |dx: &mut [T], patch: &[T]| {
        for (dx, &value) in dx.iter_mut().zip(patch) {
            *dx += value;
        }
    };
    let inner = (col * window.stride[1]).checked_sub(window.padding[1]);
    if let (1, Some(start)) = (window.dilation[1], inner)
        && start + window.kernel[1] <= window.size[1]
    {
        add(&mut dx[start * channels..][..patch.len()], patch);
        return;
    }
    for (tap, patch) in patch.chunks_exact(channels).enumerate() {
        if let Some(there) = window.under(1, col, tap) {
            add(&mut dx[there * channels..][..channels], patch);
        }
    }
}
