//! The kernels, one room per family.
//!
//! A room holds all there is to know of a kernel family: the equation, the shape of every
//! operand, what forward saves for backward, FLOPs, the CPU code (generic over `f32` and `f64`)
//! and the GPU's dispatch geometry. Its WGSL stands in `shaders/` under the same name.
//!
//! Every activation is a matrix `[rows, channels]`, channels last: rows are samples for dense layers,
//! and samples × positions for images.
//!
//! # Adding a kernel
//! 1. In its room, a plain struct of views and dimensions that implements [`Kernel`]:
//!    `operands` in binding order, `flops`, `cpu`, `gpu`.
//! 2. Its shader `shaders/<name>.wgsl`: binding 0 is the uniform `dims` (the words of
//!    [`Dispatch::dims`], in order), bindings 1, 2, … are the operands. What other shaders need too
//!    stands in `shaders/shared/`; `shader!` puts the files of one kernel together.
//! 3. One line in the list at the end of this file.
//!
//! Tests then find it by that list: naga validates its shader, and `tests/` compares CPU with GPU.
//!
//! # Order of sums
//! Every reduction runs in an order that the shapes alone decide, never the number of threads:
//! rows are cut into blocks of a fixed size, each block is summed in order, and the blocks'
//! partial results are combined in order.

pub mod activation;
pub mod adam;
pub mod batch_norm;
pub mod clock;
pub mod column_sum;
pub mod convolution;
pub mod gather;
pub mod gemm;
pub mod gemm_ladder;
pub mod loss;
pub mod nearest;
pub(crate) mod parallel;
mod patches;
pub mod pool;
mod product;
pub mod random;
pub mod upsample;
pub mod warp;
pub mod window;

pub use activation::Activation;
pub use window::{Window, WindowError};

use crate::device::cpu::{Memory, ScratchSize};
use crate::plan::{BufferId, Cost, Operand, View};
use crate::scalar::Scalar;

/// What every kernel says of itself and does.
pub trait Kernel {
    /// Name, also of its shader file.
    const NAME: &'static str;
    /// Its WGSL.
    const SHADER: &'static str;

    /// The operands, in the order of the shader's bindings.
    fn operands(&self) -> Vec<Operand>;

    /// Floating-point operations of one launch.
    fn flops(&self) -> u64;

    /// m, k, n where it is a matrix product `[m, k] · [k, n]`, be its factors stored or implied.
    fn product(&self) -> Option<[usize; 3]> {
        None
    }

    /// FLOPs and bytes; to be overridden where an operand is not touched whole.
    fn cost(&self) -> Cost {
        let mut operands = self.operands();
        operands.retain(|operand| operand.name != UNUSED);
        Cost::over(self.flops(), &operands)
    }

    /// Scratch memory that a CPU thread needs.
    fn scratch(&self) -> ScratchSize {
        ScratchSize::default()
    }

    /// Executes it on the CPU.
    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>);

    /// How to execute it on the GPU.
    fn gpu(&self) -> Dispatch;
}

/// A launch's geometry on the GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// Values of the shader's `const NAME` declarations; those not named keep their default.
    pub constants: Vec<(&'static str, String)>,
    /// The uniform: dimensions as `u32`, real numbers as the bits of an `f32`.
    pub dims: Vec<u32>,
    /// Work-groups in x, y, z.
    pub groups: [u32; 3],
}

/// One of the dispatches that carry out a launch on a GPU.
#[derive(Clone, Debug)]
pub struct Step {
    /// Whose shader.
    pub kernel: AnyKernel,
    /// What is bound to it.
    pub operands: Vec<Operand>,
    /// Its geometry.
    pub dispatch: Dispatch,
}

impl Step {
    /// The kernel as it says.
    fn of(kernel: impl Into<AnyKernel>) -> Step {
        let kernel = kernel.into();
        Step {
            operands: kernel.operands(),
            dispatch: kernel.gpu(),
            kernel,
        }
    }
}

impl AnyKernel {
    /// The dispatches that carry it out on a GPU, in order: one, unless that would leave most of the
    /// GPU idle. What one leaves for the next lies in `scratch`, a buffer that no plan has.
    pub fn steps(&self, scratch: BufferId) -> Vec<Step> {
        let split = match self {
            AnyKernel::Gemm(gemm) => gemm.split(scratch),
            _ => None,
        };
        split.map_or_else(|| vec![Step::of(self.clone())], Vec::from)
    }
}

/// Name of an operand that fills a binding and is not read.
pub const UNUSED: &str = "unused";

/// A bias, or where there is none what stands in for it: a shader's bindings are fixed.
fn bias_operand(bias: Option<View>, stand_in: View) -> Operand {
    match bias {
        Some(bias) => Operand::read("bias", bias),
        None => Operand::read(UNUSED, stand_in),
    }
}

/// Threads per work-group of the kernels whose threads each own one element or column.
pub const GROUP: usize = 64;

/// The work-groups that cover `count` threads in one dimension, folded into a second where more
/// than 65,535 would be needed; shaders recover the index as
/// `(group.y · groups.x + group.x) · GROUP + local`.
pub fn linear_groups(count: usize) -> [u32; 3] {
    const LIMIT: usize = 65_535;
    let groups = count.div_ceil(GROUP);
    let rows = groups.div_ceil(LIMIT).max(1);
    [groups.div_ceil(rows) as u32, rows as u32, 1]
}

/// y and z of a grid of `count` work-groups, which may be more than WebGPU's 65,535 in one direction.
fn folded(count: usize) -> [u32; 2] {
    const LIMIT: usize = 65_535;
    let layers = count.div_ceil(LIMIT).max(1);
    [count.div_ceil(layers) as u32, layers as u32]
}

/// Rows summed by one block of a two-pass column reduction.
pub const ROWS_PER_BLOCK: usize = 32;

/// A shader: files of `shaders/`, one after the other. What several kernels share stands in
/// `shaders/shared/` and comes first.
macro_rules! shader {
    ($($file:literal),+) => {
        concat!($(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $file, ".wgsl"))),+)
    };
}
use shader;

/// A shader with its matrix product by tiles, if it has one, replaced by one of plain loops.
pub fn naive_products(shader: &str) -> String {
    let (tile, naive) = (
        include_str!("../../shaders/shared/tile.wgsl"),
        include_str!("../../shaders/shared/tile_naive.wgsl"),
    );
    shader.replace(tile, naive)
}

macro_rules! kernels {
    ($($variant:ident = $type:path),* $(,)?) => {
        /// Any kernel: what a launch holds.
        #[derive(Clone, Debug)]
        pub enum AnyKernel {
            $(
                #[doc = concat!("[`", stringify!($type), "`]")]
                $variant($type),
            )*
        }

        $(impl From<$type> for AnyKernel {
            fn from(kernel: $type) -> Self {
                AnyKernel::$variant(kernel)
            }
        })*

        /// Name and WGSL of every kernel there is.
        pub const SHADERS: &[(&str, &str)] = &[
            $((<$type as Kernel>::NAME, <$type as Kernel>::SHADER)),*
        ];

        impl AnyKernel {
            /// [`Kernel::NAME`]
            pub fn name(&self) -> &'static str {
                match self { $(AnyKernel::$variant(_) => <$type as Kernel>::NAME),* }
            }

            /// [`Kernel::SHADER`]
            pub fn shader(&self) -> &'static str {
                match self { $(AnyKernel::$variant(_) => <$type as Kernel>::SHADER),* }
            }

            /// [`Kernel::operands`]
            pub fn operands(&self) -> Vec<Operand> {
                match self { $(AnyKernel::$variant(kernel) => kernel.operands()),* }
            }

            /// [`Kernel::product`]
            pub fn product(&self) -> Option<[usize; 3]> {
                match self { $(AnyKernel::$variant(kernel) => kernel.product()),* }
            }

            /// [`Kernel::cost`]
            pub fn cost(&self) -> Cost {
                match self { $(AnyKernel::$variant(kernel) => kernel.cost()),* }
            }

            /// [`Kernel::scratch`]
            pub fn scratch(&self) -> ScratchSize {
                match self { $(AnyKernel::$variant(kernel) => kernel.scratch()),* }
            }

            /// [`Kernel::cpu`]
            pub fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
                match self { $(AnyKernel::$variant(kernel) => kernel.cpu(memory)),* }
            }

            /// [`Kernel::gpu`]
            pub fn gpu(&self) -> Dispatch {
                match self { $(AnyKernel::$variant(kernel) => kernel.gpu()),* }
            }
        }
    };
}

// The list of kernels.
kernels! {
    Gather = gather::Gather,
    Gemm = gemm::Gemm,
    Conv2d = convolution::Convolve,
    Conv2dDataGradient = convolution::DataGradient,
    Conv2dWeightGradient = convolution::WeightGradient,
    MaxPool = pool::MaxPool,
    MaxPoolBackward = pool::MaxPoolBackward,
    AveragePool = pool::AveragePool,
    AveragePoolBackward = pool::AveragePoolBackward,
    Upsample = upsample::Upsample,
    UpsampleBackward = upsample::UpsampleBackward,
    ColumnSumPartial = column_sum::ColumnSumPartial,
    ColumnSumFinish = column_sum::ColumnSumFinish,
    BatchNormMoments = batch_norm::Moments,
    BatchNormStatistics = batch_norm::Statistics,
    BatchNormApply = batch_norm::Apply,
    BatchNormEvaluate = batch_norm::Evaluate,
    BatchNormBackwardPartial = batch_norm::BackwardPartial,
    BatchNormBackwardFinish = batch_norm::BackwardFinish,
    BatchNormBackwardApply = batch_norm::BackwardApply,
    ActivationForward = activation::Forward,
    ActivationBackward = activation::Backward,
    LossPartial = loss::Partial,
    LossFinish = loss::Finish,
    LossGradient = loss::Gradient,
    Adam = adam::Adam,
    ClockAdvance = clock::Advance,
    RowNorms = nearest::RowNorms,
    Distances = nearest::Distances,
    NearestOfAll = nearest::NearestOfAll,
    Residuals = nearest::Residuals,
    NearestFiltered = nearest::NearestFiltered,
    Nearest = nearest::Nearest,
    LadderNaive = gemm_ladder::Naive,
    LadderCoalesced = gemm_ladder::Coalesced,
    LadderTiled = gemm_ladder::Tiled,
    LadderRegisters = gemm_ladder::Registers,
    LadderVectors = gemm_ladder::Vectors,
    LadderSubgroup = gemm_ladder::Subgroup,
}
