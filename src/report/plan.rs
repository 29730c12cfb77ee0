//! A plan as data for programs: what `diabolo plan --json` prints.

use serde::Serialize;

use crate::buffer::{Access, Element, Lifetime, Operand};
use crate::device::gpu::GpuOptions;
use crate::device::gpu::lower::Lowered;
use crate::plan::{Launch, Pass, Plan};

/// A whole plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlanListing {
    /// Its buffers.
    pub buffers: Vec<BufferListing>,
    /// Its routines.
    pub routines: Vec<RoutineListing>,
    /// The final text of every shader variant that its launches run on a GPU, by name.
    pub shaders: Vec<ShaderListing>,
}

/// A buffer.
#[derive(Clone, Debug, Serialize)]
pub struct BufferListing {
    /// Its name.
    pub name: String,
    /// Elements.
    pub len: usize,
    /// What its elements are.
    pub element: Element,
    /// How long its contents survive.
    pub lifetime: Lifetime,
    /// The slot of memory that it lies in.
    pub slot: usize,
}

/// A routine.
#[derive(Clone, Debug, Serialize)]
pub struct RoutineListing {
    /// Its name.
    pub name: String,
    /// Its launches in the order of emission, dropped ones among them.
    pub launches: Vec<LaunchListing>,
}

/// A launch.
#[derive(Clone, Debug, Serialize)]
pub struct LaunchListing {
    /// Its label as one text.
    #[serde(skip)]
    pub label: String,
    /// The layer or objective that emitted it.
    pub layer: String,
    /// Its pass.
    pub pass: Pass,
    /// Which of the layer's launches in that pass.
    pub part: &'static str,
    /// Its kernel.
    pub kernel: &'static str,
    /// What it computes, where the kernel's name leaves that open: transposed factors, a fused activation.
    pub formula: String,
    /// Its operands.
    pub operands: Vec<OperandListing>,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Whether the plan dropped it, because no launch and no host call reads what it writes.
    pub dropped: bool,
}

/// An operand of a launch.
#[derive(Clone, Debug, Serialize)]
pub struct OperandListing {
    /// Its name in the kernel's equation.
    pub name: &'static str,
    /// `[rows, cols]` of a matrix as it is stored, `[len]` of anything else.
    pub shape: Vec<usize>,
    /// Whether it is read, written or updated in place.
    pub access: Access,
}

impl From<&Operand> for OperandListing {
    fn from(operand: &Operand) -> Self {
        OperandListing {
            name: operand.name,
            shape: operand.shape(),
            access: operand.access,
        }
    }
}

/// A variant of a shader.
#[derive(Clone, Debug, Serialize)]
pub struct ShaderListing {
    /// The kernel's name, and the values of its constants.
    pub name: String,
    /// WGSL.
    pub wgsl: String,
}

impl PlanListing {
    /// Of a plan, with the shaders as a GPU opened with these options compiles them.
    pub fn new(plan: &Plan, options: &GpuOptions) -> PlanListing {
        let buffers = plan.buffers.iter().zip(&plan.memory.slot_of);
        let buffers = buffers.map(|(buffer, &slot)| BufferListing {
            name: buffer.name.clone(),
            len: buffer.len,
            element: buffer.element,
            lifetime: buffer.lifetime,
            slot,
        });
        let routines = plan.routines.iter().map(|routine| {
            let launches = routine.emitted().into_iter();
            RoutineListing {
                name: routine.name.clone(),
                launches: launches
                    .map(|(launch, dropped)| listing(launch, dropped))
                    .collect(),
            }
        });
        PlanListing {
            buffers: buffers.collect(),
            routines: routines.collect(),
            shaders: shaders(plan, options),
        }
    }
}

fn listing(launch: &Launch, dropped: bool) -> LaunchListing {
    let cost = launch.kernel.cost();
    LaunchListing {
        label: launch.label.to_string(),
        layer: launch.label.layer.clone(),
        pass: launch.label.pass,
        part: launch.label.part,
        kernel: launch.kernel.name(),
        formula: launch.kernel.formula(),
        operands: launch.operands().iter().map(Into::into).collect(),
        flops: cost.flops,
        bytes: cost.bytes(),
        dropped,
    }
}

/// Every variant once, sorted by name.
fn shaders(plan: &Plan, options: &GpuOptions) -> Vec<ShaderListing> {
    let lowered = Lowered::new(plan, options.rewrite);
    let shaders = lowered.shaders.into_iter().map(|shader| ShaderListing {
        name: shader.name,
        wgsl: shader.wgsl,
    });
    let mut shaders: Vec<_> = shaders.collect();
    shaders.sort_by(|a, b| a.name.cmp(&b.name));
    shaders
}
