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
//! is its adjoint, which adds every tap back to where it came from. Neither is ever formed.
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
//! CPU: the register tiles of `product.rs` read patches where they lie, in an image with a border of
//! zeros (`patches.rs`), image by image. GPU: the same implicit products on the GEMM's tile body. On both,
//! the data gradient is one dense product per phase of the stride: pixels that lie alike between the
//! windows are under the same taps. The weight gradient splits its sum over positions into blocks.
//!
//! Source: Dumoulin and Visin, “A guide to convolution arithmetic for deep learning” (2016).

mod data_gradient;
pub mod definition;
mod library;
mod weight_gradient;

pub use data_gradient::DataGradient;
pub use weight_gradient::{WeightGradient, weight_blocks};

use super::gemm::finish_block;
use super::parallel::{chunks_of, each_member};
use super::patches::Bordered;
use super::product::{Left, Target, fill, multiply, pack, packed_len, width};
use super::window::Window;
use super::{Activation, Dispatch, Kernel, bias_operand, folded, shader, with_epilogue};
use crate::buffer::{Matrix, Operand, View};
use crate::kernels::host::{Memory, Products, ScratchSize};
use crate::scalar::Scalar;

/// Tasks for each thread, so that all end at about the same time. No sum is cut for it, so bits do not
/// depend on it.
const TASKS_PER_THREAD: usize = 4;
/// Rows of the GPU's tile.
const GPU_TILE: usize = 64;

/// Elements from one patch of `depth` elements to the next, where patches are written down.
fn patch_line(depth: usize) -> usize {
    depth.next_multiple_of(width::<f32>() / 2)
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
        "shared/exp_minus_one",
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

    fn formula(&self) -> String {
        with_epilogue("x ∗ weight", self.bias, self.activation)
    }

    fn flops(&self) -> u64 {
        let epilogue = u64::from(self.bias.is_some()) + self.activation.flops();
        self.shape().flops(&self.window) + self.y.view.len as u64 * epilogue
    }

    fn product(&self) -> Option<[usize; 3]> {
        let shape = self.shape();
        Some([shape.positions(&self.window), shape.depth, shape.maps])
    }

    fn scratch(&self) -> ScratchSize {
        let Shape {
            channels,
            maps,
            depth,
            ..
        } = self.shape();
        ScratchSize {
            reals: packed_len::<f32>(depth, maps) + Bordered::larger(&self.window, channels).len(),
            places: depth + self.window.map_area(),
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        if memory.products == Products::Matrixmultiply {
            return self.by_library(memory);
        }
        let Shape {
            channels,
            maps,
            depth,
            ..
        } = self.shape();
        let (pixels, area) = (self.window.area() * channels, self.window.map_area());
        let side = Bordered::larger(&self.window, channels);
        let bias = self.bias.unwrap_or(self.weight.view.part(0, 0));
        let (scratch, team, size) = (&memory.scratch, &memory.team, self.scratch());
        let ([x, weight, bias], [y]) = memory
            .real
            .access([self.x.view, self.weight.view, bias], [self.y.view]);
        // A member packs the weight once, for all images that it takes.
        each_member(team, chunks_of(y, area * maps), |member, parts| {
            scratch.with(member, size, |reals, places| {
                let (steps, corners) = places.split_at_mut(depth);
                fill(steps, side.taps(&self.window));
                fill(corners, side.corners(&self.window));
                let (packed, whole) = reals.split_at_mut(packed_len::<T>(depth, maps));
                let whole = &mut whole[..side.len()];
                let weight = pack(weight, [maps, 1], [depth, maps], packed);
                for (image, y) in parts {
                    side.frame(&x[image * pixels..][..pixels], whole);
                    let patches = Left {
                        values: whole,
                        row: |i: usize| corners[i],
                        steps,
                    };
                    let target = Target::new(y);
                    // y [area, M] = patches [area, depth] · weight [depth, M]
                    // SAFETY: this image's maps are this task's alone.
                    unsafe { multiply(0..area, patches, weight, target, |i| i * maps, false) };
                    finish_block(y, bias, self.activation);
                }
            });
        });
    }

    fn gpu(&self) -> Dispatch {
        let shape = self.shape();
        let [down, layers] = folded(self.y.rows.div_ceil(GPU_TILE));
        Dispatch {
            constants: vec![
                ("TILE", format!("{GPU_TILE}u")),
                ("BIAS", self.bias.is_some().to_string()),
                ("ACTIVATION", self.activation.code()),
            ],
            dims: shape.dims(&self.window, 1),
            groups: [shape.maps.div_ceil(GPU_TILE) as u32, down, layers],
        }
    }
}
