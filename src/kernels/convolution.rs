//! Convolution in two dimensions, and with the same kernels transposed convolution.
//!
//! ```text
//! forward           y        = f(patches(x) · weight + bias)
//! data gradient     dx       = patchesᵀ(dy · weightᵀ)
//! weight gradient   d_weight = patches(x)ᵀ · dy
//!
//! x       [N·H·W, C]       images, channels last
//! y       [N·OH·OW, M]     maps, one per output channel
//! weight  [KH·KW·C, M]     taps row by row, each with all its channels
//! bias    [M]
//! ```
//! `patches` (im2col) takes `[N·H·W, C]` to `[N·OH·OW, KH·KW·C]`: row (n, oh, ow) holds what the
//! [`Window`] sees there, zeros where it reaches into the padding. It is linear; `patchesᵀ` (col2im)
//! is its adjoint, which adds every tap back to where it came from. Neither is ever formed whole; both
//! are in `patches.rs`.
//!
//! Transposed convolution is the adjoint of convolution. With A the forward map above, x on the
//! larger side and y on the smaller:
//!
//! ```text
//! conv              y = A x      dx = Aᵀ dy      d_weight from (x, dy)
//! transposed conv   x = Aᵀ y     dy = A dx       d_weight from (dx, y)
//! ```
//! so its forward is [`DataGradient`], its data gradient is [`Convolve`], and its weight gradient is
//! [`WeightGradient`] with the two sides swapped. That is why [`DataGradient`] has a bias and an
//! activation.
//!
//! Each of the three costs 2·N·OH·OW·KH·KW·C·M FLOPs, taps in the padding included.
//!
//! CPU: tiles of patches that fit the second-level cache, straight into `matrixmultiply`. Tiles
//! depend on the shape alone. GPU: implicit products on the GEMM's tile body; the data gradient is
//! one dense product per phase of the stride; the weight gradient splits its sum over rows.
//!
//! Source: Dumoulin and Visin, “A guide to convolution arithmetic for deep learning” (2016).

use rayon::prelude::*;

use super::gemm::epilogue_rows;
use super::parallel;
use super::patches::{gather_patches, scatter_patches};
use super::window::Window;
use super::{Activation, Dispatch, Kernel, bias_operand, folded, shader};
use crate::device::cpu::Memory;
use crate::plan::{Matrix, Operand, View};
use crate::scalar::Scalar;

/// Reals in a tile of patches: 256 KiB of f32, half of a common second-level cache.
const TILE: usize = 1 << 16;
/// Rows of a tile, at least: fewer would leave the product's registers idle.
const LEAST_ROWS: usize = 32;
/// Tiles, at least, that the work is cut into where it is large enough to share out.
const ENOUGH_TILES: usize = 8;
/// Rows of the GPU's tile.
const GPU_TILE: usize = 64;

/// Rows of patches in a tile, `width` reals each.
fn tile_rows(rows: usize, width: usize) -> usize {
    (TILE / width)
        .min(rows.div_ceil(ENOUGH_TILES))
        .max(LEAST_ROWS)
        .min(rows)
}

/// Channels and FLOPs that the three kernels have in common.
#[derive(Clone, Copy, Debug)]
struct Shape {
    images: usize,
    channels: usize,
    maps: usize,
    /// KH·KW·C
    depth: usize,
}

impl Shape {
    /// Panics if the operands' shapes do not fit: a mistake in the emitting layer.
    fn of(window: &Window, x: Matrix, weight: [usize; 2], y: Matrix) -> Shape {
        let images = x.rows / window.area();
        let shape = Shape {
            images,
            channels: x.cols,
            maps: y.cols,
            depth: window.taps() * x.cols,
        };
        assert!(
            x.rows == images * window.area()
                && y.rows == images * window.map_area()
                && weight == [shape.depth, shape.maps],
            "convolution of {:?} by {weight:?} into {:?}: {window:?}",
            [x.rows, x.cols],
            [y.rows, y.cols],
        );
        shape
    }

    fn positions(&self, window: &Window) -> usize {
        self.images * window.map_area()
    }

    fn flops(&self, window: &Window) -> u64 {
        2 * self.positions(window) as u64 * (self.depth * self.maps) as u64
    }

    fn dims(&self, window: &Window, blocks: usize) -> Vec<u32> {
        window.dims(self.images, [self.channels, self.maps], blocks)
    }
}

/// The forward map: `y = f(patches(x) · weight + bias)`.
#[derive(Clone, Debug)]
pub struct Convolve {
    /// How the window slides.
    pub window: Window,
    /// `[N·H·W, C]`
    pub x: Matrix,
    /// `[KH·KW·C, M]`
    pub weight: Matrix,
    /// `[M]`
    pub bias: Option<View>,
    /// f
    pub activation: Activation,
    /// `[N·OH·OW, M]`
    pub y: Matrix,
}

impl Convolve {
    fn shape(&self) -> Shape {
        let weight = [self.weight.rows, self.weight.cols];
        Shape::of(&self.window, self.x, weight, self.y)
    }
}

impl Kernel for Convolve {
    const NAME: &'static str = "conv2d";
    const SHADER: &'static str = shader!(
        "shared/window",
        "shared/activation",
        "shared/tile",
        "conv2d"
    );

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.x),
            Operand::read("weight", self.weight),
            Operand::write("y", self.y),
            bias_operand(self.bias, self.weight.view),
        ]
    }

    fn flops(&self) -> u64 {
        let epilogue = u64::from(self.bias.is_some()) + self.activation.flops();
        self.shape().flops(&self.window) + self.y.view.len as u64 * epilogue
    }

    fn product(&self) -> Option<[usize; 3]> {
        let shape = self.shape();
        Some([shape.positions(&self.window), shape.depth, shape.maps])
    }

    fn scratch(&self) -> usize {
        tile_rows(self.y.rows, self.weight.rows) * self.weight.rows
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let Shape {
            channels,
            maps,
            depth,
            ..
        } = self.shape();
        let tile = tile_rows(self.y.rows, depth);
        let bias = self.bias.unwrap_or(self.weight.view.part(0, 0));
        let scratch = &memory.scratch;
        let ([x, weight, bias], [y]) = memory
            .real
            .access([self.x.view, self.weight.view, bias], [self.y.view]);
        y.par_chunks_mut(tile * maps)
            .enumerate()
            .for_each(|(index, y)| {
                let rows = y.len() / maps;
                scratch.with(rows * depth, |patches| {
                    let taps = 0..self.window.kernel[0];
                    gather_patches(&self.window, channels, x, index * tile, taps, patches);
                    // y [rows, M] = patches [rows, depth] · weight [depth, M]
                    T::product([rows, depth, maps], (patches, false), (weight, false), y);
                });
                epilogue_rows(y, maps, bias, self.activation);
            });
    }

    fn gpu(&self) -> Dispatch {
        let shape = self.shape();
        let [down, layers] = folded(self.y.rows.div_ceil(GPU_TILE));
        Dispatch {
            constants: vec![
                ("BIAS", self.bias.is_some().to_string()),
                ("ACTIVATION", self.activation.code()),
            ],
            dims: shape.dims(&self.window, 1),
            groups: [shape.maps.div_ceil(GPU_TILE) as u32, down, layers],
        }
    }
}

/// The adjoint map: `dx = f(patchesᵀ(dy · weightᵀ) + bias)`.
///
/// As a gradient it has neither bias nor f; as transposed convolution's forward it has both.
#[derive(Clone, Debug)]
pub struct DataGradient {
    /// How the window slides.
    pub window: Window,
    /// `[N·OH·OW, M]`
    pub dy: Matrix,
    /// `[KH·KW·C, M]`
    pub weight: Matrix,
    /// `[C]`
    pub bias: Option<View>,
    /// f
    pub activation: Activation,
    /// `[N·H·W, C]`
    pub dx: Matrix,
}

impl DataGradient {
    fn shape(&self) -> Shape {
        let weight = [self.weight.rows, self.weight.cols];
        Shape::of(&self.window, self.dx, weight, self.dy)
    }

    /// Images that one task handles, and rows of dy in one of its tiles.
    fn tiling(&self) -> [usize; 2] {
        let Shape { images, depth, .. } = self.shape();
        let area = self.window.map_area();
        let group = (TILE / (area * depth))
            .min(images.div_ceil(ENOUGH_TILES))
            .max(1);
        [group, (TILE / depth).max(LEAST_ROWS).min(group * area)]
    }
}

impl Kernel for DataGradient {
    const NAME: &'static str = "conv2d_data_gradient";
    const SHADER: &'static str = shader!(
        "shared/window",
        "shared/activation",
        "shared/tile",
        "conv2d_data_gradient"
    );

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("dy", self.dy),
            Operand::read("weight", self.weight),
            Operand::write("dx", self.dx),
            bias_operand(self.bias, self.weight.view),
        ]
    }

    fn flops(&self) -> u64 {
        let epilogue = u64::from(self.bias.is_some()) + self.activation.flops();
        self.shape().flops(&self.window) + self.dx.view.len as u64 * epilogue
    }

    fn product(&self) -> Option<[usize; 3]> {
        let shape = self.shape();
        Some([shape.positions(&self.window), shape.maps, shape.depth])
    }

    fn scratch(&self) -> usize {
        self.tiling()[1] * self.weight.rows
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let Shape {
            channels,
            maps,
            depth,
            ..
        } = self.shape();
        let [group, tile] = self.tiling();
        let area = self.window.map_area();
        let bias = self.bias.unwrap_or(self.weight.view.part(0, 0));
        let scratch = &memory.scratch;
        let ([dy, weight, bias], [dx]) = memory
            .real
            .access([self.dy.view, self.weight.view, bias], [self.dx.view]);
        // Windows overlap within an image, never between images: a task owns whole images.
        dx.par_chunks_mut(group * self.window.area() * channels)
            .zip(dy.par_chunks(group * area * maps))
            .for_each(|(dx, dy)| {
                dx.fill(T::zero());
                for (index, dy) in dy.chunks(tile * maps).enumerate() {
                    let rows = dy.len() / maps;
                    scratch.with(rows * depth, |patches| {
                        // patches [rows, depth] = dy [rows, M] · weightᵀ [M, depth]
                        T::product([rows, maps, depth], (dy, false), (weight, true), patches);
                        parallel::simd(
                            #[inline(always)]
                            || scatter_patches(&self.window, channels, patches, index * tile, dx),
                        );
                    });
                }
                epilogue_rows(dx, channels, bias, self.activation);
            });
    }

    fn gpu(&self) -> Dispatch {
        let shape = self.shape();
        let Window { size, stride, .. } = self.window;
        let largest = size[0].div_ceil(stride[0]) * size[1].div_ceil(stride[1]);
        let tiles = (shape.images * largest).div_ceil(GPU_TILE);
        let [down, layers] = folded(tiles * stride[0] * stride[1]);
        Dispatch {
            constants: vec![
                ("BIAS", self.bias.is_some().to_string()),
                ("ACTIVATION", self.activation.code()),
                ("TRANSPOSE_B", true.to_string()),
            ],
            dims: shape.dims(&self.window, 1),
            groups: [shape.channels.div_ceil(GPU_TILE) as u32, down, layers],
        }
    }
}

/// The weight gradient's first pass: `partial[b] = patches(x)ᵀ · dy` over block b of dy's rows. The
/// blocks' sum, by [`ColumnSumFinish`], is d_weight.
///
/// [`ColumnSumFinish`]: super::column_sum::ColumnSumFinish
#[derive(Clone, Debug)]
pub struct WeightGradient {
    /// How the window slides.
    pub window: Window,
    /// `[N·H·W, C]`
    pub x: Matrix,
    /// `[N·OH·OW, M]`
    pub dy: Matrix,
    /// `[blocks, KH·KW·C·M]`, blocks by [`weight_blocks`]
    pub partial: Matrix,
}

/// Blocks that `rows` rows are cut into for the gradient of a weight of so many elements: enough to
/// share out, few enough to add up.
pub fn weight_blocks(rows: usize, weight: usize) -> usize {
    const MOST: usize = 16;
    const LEAST_PER_BLOCK: usize = 128;
    const PARTIAL_REALS: usize = 1 << 22;
    (rows / LEAST_PER_BLOCK)
        .min(MOST)
        .min(PARTIAL_REALS / weight)
        .max(1)
}

impl WeightGradient {
    fn shape(&self) -> Shape {
        let depth = self.window.taps() * self.x.cols;
        let weight = [depth, self.partial.cols / depth];
        Shape::of(&self.window, self.x, weight, self.dy)
    }

    fn rows_per_block(&self) -> usize {
        self.dy.rows.div_ceil(self.partial.rows)
    }

    /// Rows of taps that one task handles: one, which cuts the work without a sum between tasks,
    /// unless that makes too narrow a product.
    fn taps_per_task(&self) -> usize {
        const LEAST_WIDTH: usize = 32;
        let line = self.window.kernel[1] * self.x.cols;
        if line < LEAST_WIDTH {
            self.window.kernel[0]
        } else {
            1
        }
    }

    /// Columns of patches, and rows, of one task's tiles.
    fn tile(&self) -> [usize; 2] {
        let width = self.taps_per_task() * self.window.kernel[1] * self.x.cols;
        let rows = (TILE / width).max(LEAST_ROWS).min(self.rows_per_block());
        [width, rows]
    }
}

impl Kernel for WeightGradient {
    const NAME: &'static str = "conv2d_weight_gradient";
    const SHADER: &'static str = shader!("shared/window", "shared/tile", "conv2d_weight_gradient");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.x),
            Operand::read("dy", self.dy),
            Operand::write("partial", self.partial),
        ]
    }

    fn flops(&self) -> u64 {
        self.shape().flops(&self.window)
    }

    fn product(&self) -> Option<[usize; 3]> {
        let shape = self.shape();
        Some([shape.depth, shape.positions(&self.window), shape.maps])
    }

    fn scratch(&self) -> usize {
        self.tile().iter().product()
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let Shape { channels, maps, .. } = self.shape();
        let (block_rows, [width, tile]) = (self.rows_per_block(), self.tile());
        let (taps, at_a_time) = (self.window.kernel[0], self.taps_per_task());
        let scratch = &memory.scratch;
        let ([x, dy], [partial]) = memory
            .real
            .access([self.x.view, self.dy.view], [self.partial.view]);
        partial
            .par_chunks_mut(width * maps)
            .enumerate()
            .for_each(|(task, product)| {
                let first_tap = task * at_a_time;
                let (block, tap) = (first_tap / taps, first_tap % taps);
                product.fill(T::zero());
                let end = self.dy.rows.min((block + 1) * block_rows);
                for first in (block * block_rows..end).step_by(tile) {
                    let rows = tile.min(end - first);
                    let dy = &dy[first * maps..][..rows * maps];
                    scratch.with(rows * width, |patches| {
                        let taps = tap..tap + at_a_time;
                        gather_patches(&self.window, channels, x, first, taps, patches);
                        // product [width, M] += patchesᵀ [width, rows] · dy [rows, M]
                        let dims = [width, rows, maps];
                        T::add_product(dims, (patches, true), (dy, false), product);
                    });
                }
            });
    }

    fn gpu(&self) -> Dispatch {
        let shape = self.shape();
        Dispatch {
            constants: vec![("TRANSPOSE_A", true.to_string())],
            dims: shape.dims(&self.window, self.partial.rows),
            groups: [
                shape.maps.div_ceil(GPU_TILE) as u32,
                shape.depth.div_ceil(GPU_TILE) as u32,
                self.partial.rows as u32,
            ],
        }
    }
}
