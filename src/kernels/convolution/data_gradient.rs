//! Convolution's data gradient, which is transposed convolution's forward.

use super::{GPU_TILE, Shape, patch_line};
use crate::buffer::{Matrix, Operand, View};
use crate::kernels::gemm::finish_block;
use crate::kernels::host::{Memory, Products, ScratchSize};
use crate::kernels::parallel::{chunks_of, each_member};
use crate::kernels::patches::{Bordered, Phases};
use crate::kernels::product::{
    Left, Panels, Target, fill, multiply, pack, packed_len, panel_len, width,
};
use crate::kernels::window::Window;
use crate::kernels::{Activation, Dispatch, Kernel, bias_operand, folded, shader, with_epilogue};
use crate::scalar::Scalar;

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
    pub(super) fn shape(&self) -> Shape {
        let weight = [self.weight.rows, self.weight.cols];
        Shape::of(&self.window, self.dx, weight, self.dy)
    }

    /// Whether to multiply first and add the taps up afterwards. One product per phase adds them up as it
    /// goes, but it is only C columns wide: with few, most of a vector would idle.
    fn adds_afterwards(&self) -> bool {
        self.dx.cols <= width::<f32>() / 4
    }

    /// One image: `patches = dy · weightᵀ`, then `dx = patchesᵀ(patches)`.
    ///
    /// `weight` is `weightᵀ`, packed whole; `steps` are the maps.
    fn multiply_then_add<T: Scalar>(
        &self,
        (dy, weight, steps): (&[T], &[T], &[usize]),
        (patches, whole): (&mut [T], &mut [T]),
        dx: &mut [T],
    ) {
        let Shape {
            channels,
            maps,
            depth,
            ..
        } = self.shape();
        let side = Bordered::larger(&self.window, channels);
        let left = Left {
            values: dy,
            row: |i: usize| i * maps,
            steps,
        };
        // patches [area, depth] = dy [area, M] · weightᵀ [M, depth], filled up to whole vectors
        let (area, line) = (self.window.map_area(), patch_line(depth));
        let weight = Panels::packed(weight, [maps, line]);
        let target = Target::new(patches);
        // SAFETY: the scratch memory is this task's alone.
        unsafe { multiply(0..area, left, weight, target, |i| i * line, false) };
        whole.fill(T::zero());
        side.scatter(&self.window, (patches, line), whole);
        side.unframe(whole, dx);
    }

    /// Packs `weightᵀ` phase by phase, `[taps·M, C]` each, and writes down for each its numbers of pixels
    /// and steps, and where its windows (the earliest over each pixel), pixels and steps lie: done for every
    /// image, this would take a fiftieth of the time.
    ///
    /// Returns how many phases there are, and how many pixels they cover.
    fn prepare_phases<T: Scalar>(
        &self,
        side: &Bordered,
        weight: &[T],
        (mut packed, mut places): (&mut [T], &mut [usize]),
    ) -> [usize; 2] {
        let Shape { channels, maps, .. } = self.shape();
        let [mut phases, mut covered] = [0, 0];
        for phase in Phases::all(&self.window) {
            let (pixels, depth) = (phase.pixels(), phase.taps(side).count() * maps);
            let [counts, windows, targets, steps] =
                [2, pixels, pixels, depth].map(|len| places.split_off_mut(..len).expect("enough"));
            counts.copy_from_slice(&[pixels, depth]);
            fill(windows, phase.earliest(side));
            fill(targets, phase.places().map(|place| place * channels));
            let taps = phase.taps(side);
            fill(steps, taps.flat_map(|(_, place)| place..place + maps));
            let panels = packed.split_off_mut(..packed_len::<T>(depth, channels));
            let panels = panels
                .expect("enough")
                .chunks_exact_mut(panel_len::<T>(depth));
            for (first, panel) in (0..channels).step_by(width::<T>()).zip(panels) {
                let cols = width::<T>().min(channels - first);
                let taps = panel.chunks_exact_mut(panel_len::<T>(maps));
                for ((tap, _), panel) in phase.taps(side).zip(taps) {
                    let weight = &weight[(tap * channels + first) * maps..];
                    pack(weight, [1, maps], [maps, cols], panel);
                }
            }
            phases += 1;
            covered += pixels;
        }
        [phases, covered]
    }

    /// One image: dx, phase by phase, from dy in its border. The rest as
    /// [`prepare_phases`](Self::prepare_phases) left it.
    fn add_up_phases<T: Scalar>(
        &self,
        whole: &[T],
        (mut packed, mut places, [phases, covered]): (&[T], &[usize], [usize; 2]),
        dx: &mut [T],
    ) {
        let channels = self.dx.cols;
        if covered < self.window.area() {
            // The others are under no tap.
            dx.fill(T::zero());
        }
        let dx = Target::new(dx);
        for _ in 0..phases {
            let counts = places.split_off(..2).expect("as prepared");
            let (pixels, depth) = (counts[0], counts[1]);
            let [windows, targets, steps] =
                [pixels, pixels, depth].map(|len| places.split_off(..len).expect("as prepared"));
            let left = Left {
                values: whole,
                row: |i: usize| windows[i],
                steps,
            };
            let weight = packed.split_off(..packed_len::<T>(depth, channels));
            let weight = Panels::packed(weight.expect("as prepared"), [depth, channels]);
            // dx [pixels, C] = windows over them [pixels, taps·M] · weightᵀ [taps·M, C]
            // SAFETY: this image is this task's alone.
            unsafe { multiply(0..pixels, left, weight, dx, |i| targets[i], false) };
        }
    }
}

impl Kernel for DataGradient {
    const NAME: &'static str = "conv2d_data_gradient";
    const SHADER: &'static str = shader!(
        "shared/window",
        "shared/exp_minus_one",
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

    fn formula(&self) -> String {
        with_epilogue("dy ∗ᵀ weight", self.bias, self.activation)
    }

    fn flops(&self) -> u64 {
        let epilogue = u64::from(self.bias.is_some()) + self.activation.flops();
        self.shape().flops(&self.window) + self.dx.view.len as u64 * epilogue
    }

    fn product(&self) -> Option<[usize; 3]> {
        let shape = self.shape();
        Some([shape.positions(&self.window), shape.maps, shape.depth])
    }

    fn scratch(&self) -> ScratchSize {
        let Shape {
            channels,
            maps,
            depth,
            ..
        } = self.shape();
        let area = self.window.map_area();
        if self.adds_afterwards() {
            let whole = Bordered::larger(&self.window, channels).len();
            return ScratchSize {
                reals: packed_len::<f32>(maps, depth) + area * patch_line(depth) + whole,
                places: maps,
            };
        }
        let whole = Bordered::smaller(&self.window, maps).len();
        ScratchSize {
            reals: packed_len::<f32>(self.window.taps() * maps, channels) + whole,
            places: 2 * Phases::all(&self.window).count()
                + 2 * self.window.area()
                + self.window.taps() * maps,
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
        let (pixels, area) = (self.window.area(), self.window.map_area());
        let bias = self.bias.unwrap_or(self.weight.view.part(0, 0));
        let (scratch, team, size) = (&memory.scratch, &memory.team, self.scratch());
        let ([dy, weight, bias], [dx]) = memory
            .real
            .access([self.dy.view, self.weight.view, bias], [self.dx.view]);
        // Windows overlap within an image, never between images.
        let parts = chunks_of(dx, pixels * channels);
        each_member(team, parts, |member, parts| {
            scratch.with(member, size, |reals, places| {
                if self.adds_afterwards() {
                    let (packed, rest) = reals.split_at_mut(packed_len::<T>(maps, depth));
                    let (patches, whole) = rest.split_at_mut(area * patch_line(depth));
                    let side = Bordered::larger(&self.window, channels);
                    let whole = &mut whole[..side.len()];
                    pack(weight, [1, maps], [maps, depth], packed);
                    fill(places, 0..maps);
                    for (image, dx) in parts {
                        let dy = &dy[image * area * maps..][..area * maps];
                        self.multiply_then_add((dy, packed, places), (patches, whole), dx);
                        finish_block(dx, bias, self.activation);
                    }
                } else {
                    let side = Bordered::smaller(&self.window, maps);
                    let depth = self.window.taps() * maps;
                    let (packed, whole) = reals.split_at_mut(packed_len::<T>(depth, channels));
                    let whole = &mut whole[..side.len()];
                    let prepared = self.prepare_phases(&side, weight, (packed, places));
                    for (image, dx) in parts {
                        let dy = &dy[image * area * maps..][..area * maps];
                        side.frame(dy, whole);
                        self.add_up_phases(whole, (packed, places, prepared), dx);
                        finish_block(dx, bias, self.activation);
                    }
                }
            });
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
                ("TILE", format!("{GPU_TILE}u")),
                ("BIAS", self.bias.is_some().to_string()),
                ("ACTIVATION", self.activation.code()),
                ("TRANSPOSE_B", true.to_string()),
            ],
            dims: shape.dims(&self.window, 1),
            groups: [shape.channels.div_ceil(GPU_TILE) as u32, down, layers],
        }
    }
}
