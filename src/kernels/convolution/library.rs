//! The three convolutions by the crate `matrixmultiply`: with every image's patches written down.

use super::{Convolve, DataGradient, Shape, WeightGradient};
use crate::kernels::gemm::finish_block;
use crate::kernels::host::Memory;
use crate::kernels::library::{Factor, product};
use crate::kernels::parallel::{chunks_of, each_member, each_part};
use crate::kernels::window::Window;
use crate::scalar::Scalar;

/// A row-major factor.
fn rows<T>(values: &[T], cols: usize) -> Factor<'_, T> {
    let strides = [cols, 1];
    Factor { values, strides }
}

/// The transpose of a row-major matrix of so many columns.
fn transposed<T>(values: &[T], cols: usize) -> Factor<'_, T> {
    let strides = [1, cols];
    Factor { values, strides }
}

/// Calls `at(window, tap, pixel)` for every tap of every window that falls on a pixel of the image.
fn each_tap(window: &Window, mut at: impl FnMut(usize, usize, usize)) {
    let [map_rows, map_cols] = window.map();
    let [tap_rows, tap_cols] = window.kernel;
    for row in 0..map_rows {
        for tap_row in 0..tap_rows {
            let Some(y) = window.under(0, row, tap_row) else {
                continue;
            };
            for col in 0..map_cols {
                for tap_col in 0..tap_cols {
                    if let Some(x) = window.under(1, col, tap_col) {
                        let (place, tap) = (row * map_cols + col, tap_row * tap_cols + tap_col);
                        at(place, tap, y * window.size[1] + x);
                    }
                }
            }
        }
    }
}

/// `patches(image)`, `[OH·OW, KH·KW·C]`: im2col.
fn patches<T: Scalar>(window: &Window, channels: usize, image: &[T], patches: &mut [T]) {
    let depth = window.taps() * channels;
    patches.fill(T::zero()); // what no tap falls on is padding
    each_tap(window, |place, tap, pixel| {
        let patch = &mut patches[place * depth + tap * channels..][..channels];
        patch.copy_from_slice(&image[pixel * channels..][..channels]);
    });
}

/// `image = patchesᵀ(patches)`: col2im, which adds every tap back to where it came from.
fn add_patches<T: Scalar>(window: &Window, channels: usize, patches: &[T], image: &mut [T]) {
    let depth = window.taps() * channels;
    image.fill(T::zero());
    each_tap(window, |place, tap, pixel| {
        let patch = &patches[place * depth + tap * channels..][..channels];
        let pixel = &mut image[pixel * channels..][..channels];
        pixel.iter_mut().zip(patch).for_each(|(x, &p)| *x += p);
    });
}

impl Convolve {
    /// An image at a time: `y = f(patches(x) · weight + bias)`.
    pub(super) fn by_library<T: Scalar>(&self, memory: &mut Memory<T>) {
        let Shape {
            channels,
            maps,
            depth,
            ..
        } = self.shape();
        let (pixels, area) = (self.window.area() * channels, self.window.map_area());
        let bias = self.bias.unwrap_or(self.weight.view.part(0, 0));
        let team = &memory.team;
        let ([x, weight, bias], [y]) = memory
            .real
            .access([self.x.view, self.weight.view, bias], [self.y.view]);
        each_member(team, chunks_of(y, area * maps), |_, images| {
            let mut seen = vec![T::zero(); area * depth];
            for (image, y) in images {
                let x = &x[image * pixels..][..pixels];
                patches(&self.window, channels, x, &mut seen);
                let dims = [area, depth, maps];
                product(dims, rows(&seen, depth), rows(weight, maps), y, false);
                finish_block(y, bias, self.activation);
            }
        });
    }
}

impl DataGradient {
    /// An image at a time: `dx = f(patchesᵀ(dy · weightᵀ) + bias)`.
    pub(super) fn by_library<T: Scalar>(&self, memory: &mut Memory<T>) {
        let Shape {
            channels,
            maps,
            depth,
            ..
        } = self.shape();
        let (pixels, area) = (self.window.area() * channels, self.window.map_area());
        let bias = self.bias.unwrap_or(self.weight.view.part(0, 0));
        let team = &memory.team;
        let ([dy, weight, bias], [dx]) = memory
            .real
            .access([self.dy.view, self.weight.view, bias], [self.dx.view]);
        each_member(team, chunks_of(dx, pixels), |_, images| {
            let mut seen = vec![T::zero(); area * depth];
            for (image, dx) in images {
                let dy = rows(&dy[image * area * maps..][..area * maps], maps);
                let dims = [area, maps, depth];
                product(dims, dy, transposed(weight, maps), &mut seen, false);
                add_patches(&self.window, channels, &seen, dx);
                finish_block(dx, bias, self.activation);
            }
        });
    }
}

impl WeightGradient {
    /// A block at a time, image by image: `partial += patches(x)ᵀ · dy`.
    pub(super) fn by_library<T: Scalar>(&self, memory: &mut Memory<T>) {
        let Shape {
            channels,
            maps,
            depth,
            ..
        } = self.shape();
        let (pixels, area) = (self.window.area() * channels, self.window.map_area());
        let team = &memory.team;
        let ([x, dy], [partial]) = memory
            .real
            .access([self.x.view, self.dy.view], [self.partial.view]);
        let positions_per_block = self.dy.rows.div_ceil(self.partial.rows);
        let blocks = chunks_of(partial, depth * maps);
        each_part(team, blocks, |_, block, partial| {
            let mut seen = vec![T::zero(); area * depth];
            let end = self.dy.rows.min((block + 1) * positions_per_block);
            let mut first = end.min(block * positions_per_block);
            partial.fill(T::zero());
            // A block may begin and end within an image.
            while first < end {
                let image = first / area;
                let last = end.min((image + 1) * area);
                let x = &x[image * pixels..][..pixels];
                patches(&self.window, channels, x, &mut seen);
                let seen = transposed(&seen[(first - image * area) * depth..], depth);
                let dy = rows(&dy[first * maps..last * maps], maps);
                product([depth, last - first, maps], seen, dy, partial, true);
                first = last;
            }
        });
    }
}
