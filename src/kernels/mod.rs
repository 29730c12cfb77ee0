//! The kernels, one room per family.
//!
//! A room holds all there is to know of a kernel family: the equation, the shape of every
//! operand, what forward saves for backward, the definition (scalar, in `f64`, without a helper), FLOPs,
//! the CPU code (generic over `f32` and `f64`) and the GPU's dispatch geometry. Its WGSL stands in
//! `shaders/` under the same name.
//!
//! Every activation is a matrix `[rows, channels]`, channels last: rows are samples for dense layers,
//! and samples × positions for images.
//!
//! # Adding a kernel
//! 1. In its room, its equation in `mod definition`, and a plain struct of views and dimensions that
//!    implements [`Kernel`]: `operands` in binding order, `flops`, `cpu`, `gpu`.
//! 2. Its shader `shaders/<name>.wgsl`: binding 0 is the uniform `dims` (the words of
//!    [`Dispatch::dims`], in order), bindings 1, 2, … are the operands. Its header ends with how many
//!    work-groups are dispatched. What other shaders need too stands in `shaders/shared/`, the entry point
//!    of kernels with a thread per element among it; `shader!` puts the files of one kernel together, and
//!    before them the constants that it shares with Rust.
//! 3. One line in [`SHADERS`], the list at the end of this file.
//! 4. A test in `tests/it/gpu_kernels/` that compares the CPU with the definition, and a GPU with the CPU.
//!
//! Tests walk that list: they validate each shader, and a kernel that no test compared is a failure.
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
pub mod dropout;
pub mod elementwise;
pub mod gather;
pub mod gaussian;
pub mod gemm;
pub mod gemm_ladder;
pub mod host;
pub mod join;
mod library;
pub mod loss;
pub mod nearest;
pub mod norm_clip;
pub(crate) mod parallel;
mod patches;
pub mod pool;
mod product;
pub mod random;
pub mod sgd;
pub mod softmax;
pub mod sparsity;
pub mod upsample;
pub mod warp;
pub mod window;

pub use activation::Activation;
pub use window::{Window, WindowError};

use std::any::Any;
use std::fmt;

use crate::buffer::{BufferId, Cost, Operand, View};
use crate::kernels::host::{Memory, ScratchSize};
use crate::scalar::Scalar;

/// A kernel: what it reads and writes, what it costs, and how each kind of device executes it.
///
/// A kernel may be defined outside this crate: a plan takes any type that implements this trait.
pub trait Kernel: fmt::Debug + Clone + Send + Sync + 'static {
    /// Name, also of its shader file.
    const NAME: &'static str;
    /// Its WGSL.
    const SHADER: &'static str;

    /// The operands, in the order of the shader's bindings.
    fn operands(&self) -> Vec<Operand>;

    /// What it computes of its operands, where its name leaves that open: `relu(a·bᵀ + bias)`. A plan's
    /// listing shows it.
    fn formula(&self) -> String {
        String::new()
    }

    /// Floating-point operations of one launch.
    fn flops(&self) -> u64;

    /// m, k, n where it is a matrix product `[m, k] · [k, n]`, be its factors stored or implied.
    fn product(&self) -> Option<[usize; 3]> {
        None
    }

    /// FLOPs and bytes; to be overridden where an operand is not touched whole.
    fn cost(&self) -> Cost {
        Cost::over(self.flops(), &used(self.operands()))
    }

    /// Scratch memory that a CPU thread needs.
    fn scratch(&self) -> ScratchSize {
        ScratchSize::default()
    }

    /// Executes it on the CPU.
    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>);

    /// How far two devices may come apart by what they round inside the launch: views that it writes,
    /// with the most that each element may differ by. Nothing of a kernel all of whose rounding shows
    /// when its inputs are moved, as lockstep moves them; to be overridden where f32 numbers
    /// are made that depend on no real input. `contents` are those after the launch.
    fn inner_rounding(&self, contents: &mut dyn Contents) -> Vec<(View, Vec<f64>)> {
        let _ = contents;
        Vec::new()
    }

    /// How the GPU executes it in one dispatch of its own shader.
    fn gpu(&self) -> Dispatch;

    /// The dispatches that execute it on a GPU, in order: one, unless one would leave most of the
    /// GPU idle. What one dispatch leaves for the next lies in `scratch`, a buffer that no plan has.
    fn steps(&self, scratch: BufferId) -> Vec<Step> {
        let _ = scratch;
        vec![Step::of(self)]
    }
}

/// What views hold.
pub trait Contents {
    /// Reals.
    fn reals(&mut self, view: View) -> Vec<f64>;
    /// Indices.
    fn indices(&mut self, view: View) -> Vec<u32>;
}

/// Any kernel: [`Kernel`] as an object, which a launch holds. Every kernel has it.
pub trait AnyKernel: Any + fmt::Debug + Send + Sync {
    /// [`Kernel::NAME`]
    fn name(&self) -> &'static str;
    /// [`Kernel::SHADER`]
    fn shader(&self) -> &'static str;
    /// [`Kernel::operands`]
    fn operands(&self) -> Vec<Operand>;
    /// [`Kernel::formula`]
    fn formula(&self) -> String;
    /// [`Kernel::product`]
    fn product(&self) -> Option<[usize; 3]>;
    /// [`Kernel::cost`]
    fn cost(&self) -> Cost;
    /// [`Kernel::scratch`]
    fn scratch(&self) -> ScratchSize;
    /// [`Kernel::cpu`] in `f32`
    fn cpu_f32(&self, memory: &mut Memory<f32>);
    /// [`Kernel::cpu`] in `f64`
    fn cpu_f64(&self, memory: &mut Memory<f64>);
    /// [`Kernel::inner_rounding`]
    fn inner_rounding(&self, contents: &mut dyn Contents) -> Vec<(View, Vec<f64>)>;
    /// [`Kernel::steps`]
    fn steps(&self, scratch: BufferId) -> Vec<Step>;
}

impl<K: Kernel> AnyKernel for K {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn shader(&self) -> &'static str {
        K::SHADER
    }

    fn operands(&self) -> Vec<Operand> {
        Kernel::operands(self)
    }

    fn formula(&self) -> String {
        Kernel::formula(self)
    }

    fn product(&self) -> Option<[usize; 3]> {
        Kernel::product(self)
    }

    fn cost(&self) -> Cost {
        Kernel::cost(self)
    }

    fn scratch(&self) -> ScratchSize {
        Kernel::scratch(self)
    }

    fn cpu_f32(&self, memory: &mut Memory<f32>) {
        self.cpu(memory);
    }

    fn cpu_f64(&self, memory: &mut Memory<f64>) {
        self.cpu(memory);
    }

    fn inner_rounding(&self, contents: &mut dyn Contents) -> Vec<(View, Vec<f64>)> {
        Kernel::inner_rounding(self, contents)
    }

    fn steps(&self, scratch: BufferId) -> Vec<Step> {
        Kernel::steps(self, scratch)
    }
}

impl dyn AnyKernel {
    /// The kernel as what it is, if it is a `K`.
    pub fn downcast<K: Kernel>(&self) -> Option<&K> {
        (self as &dyn Any).downcast_ref()
    }
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

/// One of the dispatches that execute a launch on a GPU.
#[derive(Clone, Debug)]
pub struct Step {
    /// Name of the kernel whose shader it runs.
    pub name: &'static str,
    /// That shader.
    pub shader: &'static str,
    /// What is bound to it.
    pub operands: Vec<Operand>,
    /// Its geometry.
    pub dispatch: Dispatch,
}

impl Step {
    /// A kernel's own dispatch.
    pub fn of<K: Kernel>(kernel: &K) -> Step {
        Step {
            name: K::NAME,
            shader: K::SHADER,
            operands: kernel.operands(),
            dispatch: kernel.gpu(),
        }
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

/// The operands but those that only fill a binding.
pub fn used(mut operands: Vec<Operand>) -> Vec<Operand> {
    operands.retain(|operand| operand.name != UNUSED);
    operands
}

/// The formula of a product with what follows it: `relu(a·b + bias)`.
fn with_epilogue(product: &str, bias: Option<View>, activation: Activation) -> String {
    let bias = bias.map_or("", |_| " + bias");
    activation.of(&format!("{product}{bias}"))
}

/// Threads per work-group of the kernels whose threads each own one element or column.
pub const GROUP: usize = 64;

/// The work-groups that cover `count` threads in one dimension, folded into a second where more
/// than 65,535 would be needed; `shaders/shared/element.wgsl` recovers the index.
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
/// `shaders/shared/` and comes first. In brackets before them, numbers that Rust and the shader share, which
/// become constants of the shader; with brackets, [`GROUP`] is always one of them.
macro_rules! shader {
    ($($file:literal),+ $(,)?) => {
        concat!($(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $file, ".wgsl"))),+)
    };
    ([$($name:ident = $value:expr),*] $($file:literal),+ $(,)?) => {
        const_format::concatcp!(
            "const GROUP: u32 = ",
            $crate::kernels::GROUP,
            "u;\n",
            $("const ", stringify!($name), ": u32 = ", $value, "u;\n",)*
            $crate::kernels::shader!($($file),+)
        )
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

/// Name and WGSL of a kernel.
const fn shader_of<K: Kernel>() -> (&'static str, &'static str) {
    (K::NAME, K::SHADER)
}

/// Name and WGSL of every kernel of this crate. Tests walk this list, and compare it with the
/// files of `shaders/`.
pub const SHADERS: &[(&str, &str)] = &[
    shader_of::<gather::Gather>(),
    shader_of::<gather::GatherRows>(),
    shader_of::<gemm::Gemm>(),
    shader_of::<convolution::Convolve>(),
    shader_of::<convolution::DataGradient>(),
    shader_of::<convolution::WeightGradient>(),
    shader_of::<pool::MaxPool>(),
    shader_of::<pool::MaxPoolBackward>(),
    shader_of::<pool::AveragePool>(),
    shader_of::<pool::AveragePoolBackward>(),
    shader_of::<upsample::Upsample>(),
    shader_of::<upsample::UpsampleBackward>(),
    shader_of::<column_sum::ColumnSumPartial>(),
    shader_of::<column_sum::ColumnSumFinish>(),
    shader_of::<batch_norm::Moments>(),
    shader_of::<batch_norm::Statistics>(),
    shader_of::<batch_norm::Apply>(),
    shader_of::<batch_norm::Evaluate>(),
    shader_of::<batch_norm::BackwardPartial>(),
    shader_of::<batch_norm::BackwardFinish>(),
    shader_of::<batch_norm::BackwardApply>(),
    shader_of::<activation::Forward>(),
    shader_of::<activation::Backward>(),
    shader_of::<elementwise::Add>(),
    shader_of::<elementwise::Copy>(),
    shader_of::<dropout::Dropout>(),
    shader_of::<join::Join>(),
    shader_of::<join::Split>(),
    shader_of::<gaussian::Sample>(),
    shader_of::<gaussian::SampleBackward>(),
    shader_of::<gaussian::Mean>(),
    shader_of::<gaussian::KlPartial>(),
    shader_of::<gaussian::KlGradient>(),
    shader_of::<softmax::GatherLabels>(),
    shader_of::<softmax::Partial>(),
    shader_of::<softmax::Finish>(),
    shader_of::<softmax::Gradient>(),
    shader_of::<softmax::Probabilities>(),
    shader_of::<sparsity::L1Partial>(),
    shader_of::<sparsity::L1Gradient>(),
    shader_of::<sparsity::KlPartial>(),
    shader_of::<sparsity::KlGradient>(),
    shader_of::<loss::Partial>(),
    shader_of::<loss::Finish>(),
    shader_of::<loss::Gradient>(),
    shader_of::<adam::Adam>(),
    shader_of::<sgd::Sgd>(),
    shader_of::<norm_clip::Partial>(),
    shader_of::<norm_clip::Finish>(),
    shader_of::<norm_clip::Scale>(),
    shader_of::<clock::Advance>(),
    shader_of::<nearest::RowNorms>(),
    shader_of::<nearest::Distances>(),
    shader_of::<nearest::NearestOfAll>(),
    shader_of::<nearest::Residuals>(),
    shader_of::<nearest::NearestFiltered>(),
    shader_of::<nearest::Nearest>(),
    shader_of::<gemm_ladder::Naive>(),
    shader_of::<gemm_ladder::Coalesced>(),
    shader_of::<gemm_ladder::Tiled>(),
    shader_of::<gemm_ladder::Registers>(),
    shader_of::<gemm_ladder::Vectors>(),
    shader_of::<gemm_ladder::Subgroup>(),
];
