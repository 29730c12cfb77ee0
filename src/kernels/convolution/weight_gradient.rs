//! Convolution's weight gradient.

use super::{GPU_TILE, Shape, TASKS_PER_THREAD};
use crate::buffer::{Matrix, Operand};
use crate::kernels::host::{Memory, Products, ScratchSize};
use crate::kernels::patches::Bordered;
use crate::kernels::product::{Left, Panels, Target, fill, multiply, pack, packed_len};
use crate::kernels::window::Window;
use crate::kernels::{Dispatch, Kernel, shader};
use crate::scalar::Scalar;

/// Rows of a product that are worth a task.
const LEAST_ROWS: usize = 32;

/// The weight gradient's first pass: `partial[b] = patches(x)ᵀ · dy` over block b of dy's rows. The
/// blocks' sum, by [`ColumnSumFinish`], is d_weight.
///
/// [`ColumnSumFinish`]: crate::kernels::column_sum::ColumnSumFinish
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
    pub(super) fn shape(&self) -> Shape {
        let depth = self.window.taps() * self.x.cols;
        let weight = [depth, self.partial.cols / depth];
        Shape::of(&self.window, self.x, weight, self.dy)
    }

    /// Images that are multiplied at a time: enough positions to outweigh reading and writing the sums
    /// between.
    fn images_at_a_time(&self) -> usize {
        const ENOUGH_POSITIONS: usize = 256;
        let enough = ENOUGH_POSITIONS.div_ceil(self.window.map_area());
        enough.min(self.shape().images)
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

    fn scratch(&self) -> ScratchSize {
        let Shape {
            channels,
            maps,
            depth,
            ..
        } = self.shape();
        let at_a_time = self.images_at_a_time();
        let positions = at_a_time * self.window.map_area();
        let whole = Bordered::larger(&self.window, channels).len();
        ScratchSize {
            reals: packed_len::<f32>(positions, maps) + at_a_time * whole,
            places: depth + positions,
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
        let at_a_time = self.images_at_a_time();
        let (scratch, team, size) = (&memory.scratch, &memory.team, self.scratch());
        let ([x, dy], [partial]) = memory
            .real
            .access([self.x.view, self.dy.view], [self.partial.view]);
        let blocks = self.partial.rows;
        let positions_per_block = self.dy.rows.div_ceil(blocks);
        // Where blocks are few, each one's rows are shared out too.
        let shares = (TASKS_PER_THREAD * team.threads()).div_ceil(blocks);
        let rows_per_task = depth
            .div_ceil(shares)
            .next_multiple_of(LEAST_ROWS)
            .min(depth);
        let shares = depth.div_ceil(rows_per_task);
        let partial = Target::new(partial);
        team.share_out(blocks * shares, |member, task| {
            let (block, first_row) = (task / shares, task % shares * rows_per_task);
            let rows = first_row..depth.min(first_row + rows_per_task);
            let start = block * depth * maps;
            let end = self.dy.rows.min((block + 1) * positions_per_block);
            let block = end.min(block * positions_per_block)..end;
            if block.is_empty() {
                let (first, len) = (start + rows.start * maps, rows.len() * maps);
                // SAFETY: no other task has these rows of this block.
                unsafe { partial.part(first, len) }.fill(T::zero());
                return;
            }
            scratch.with(member, size, |reals, places| {
                let (taps, steps) = places.split_at_mut(depth);
                fill(taps, side.taps(&self.window));
                let corners = |image| {
                    let corners = side.corners(&self.window);
                    corners.map(move |corner| image * side.len() + corner)
                };
                fill(steps, (0..at_a_time).flat_map(corners));
                let (packed, whole) = reals.split_at_mut(packed_len::<T>(at_a_time * area, maps));
                let images = block.start / area..block.end.div_ceil(area);
                for first in images.clone().step_by(at_a_time) {
                    let now = first..images.end.min(first + at_a_time);
                    for (image, whole) in now.clone().zip(whole.chunks_exact_mut(side.len())) {
                        side.frame(&x[image * pixels..][..pixels], whole);
                    }
                    // A block may begin and end within an image.
                    let positions = block.start.max(first * area)..block.end.min(now.end * area);
                    let steps = &steps[positions.start - first * area..][..positions.len()];
                    let patches = Left {
                        values: whole,
                        row: |tap: usize| taps[tap],
                        steps,
                    };
                    let begun = positions.start > block.start;
                    let dy = &dy[positions.start * maps..positions.end * maps];
                    let dy = if Panels::<T>::fit_in_place(maps) {
                        Panels::in_place(dy, maps, maps)
                    } else {
                        pack(dy, [maps, 1], [steps.len(), maps], packed)
                    };
                    let row = |tap| start + tap * maps;
                    // partial [depth, M] (+)= patchesᵀ [depth, positions] · dy [positions, M]
                    // SAFETY: as above.
                    unsafe { multiply(rows.clone(), patches, dy, partial, row, begun) };
                }
            });
        });
    }

    fn gpu(&self) -> Dispatch {
        let shape = self.shape();
        Dispatch {
            constants: vec![
                ("TILE", format!("{GPU_TILE}u")),
                ("TRANSPOSE_A", true.to_string()),
            ],
            dims: shape.dims(&self.window, self.partial.rows),
            groups: [
                shape.maps.div_ceil(GPU_TILE) as u32,
                shape.depth.div_ceil(GPU_TILE) as u32,
                self.partial.rows as u32,
            ],
        }
    }
}
