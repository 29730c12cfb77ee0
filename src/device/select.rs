//! Which device a plan runs on, and why.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use crate::plan::Plan;

use super::cpu::Cpu;
use super::gpu::{Adapter, Gpu, GpuContext, GpuOptions, adapters};
use super::{Device, DeviceError, DeviceInfo};
use crate::kernels::host::{Products, Team};

/// What a user may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A real GPU if there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The CPU, with matrix products by the crate `matrixmultiply`.
    CpuMatrixmultiply,
    /// The best GPU there is, a software renderer if need be.
    Gpu,
    /// The first adapter whose name contains this, whatever its case.
    Named(String),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err(
                "expected auto, cpu, cpu-matrixmultiply, gpu, or part of an adapter's name"
                    .to_owned(),
            ),
            "auto" => Ok(Choice::Auto),
            "cpu" => Ok(Choice::Cpu),
            "cpu-matrixmultiply" => Ok(Choice::CpuMatrixmultiply),
            "gpu" => Ok(Choice::Gpu),
            name => Ok(Choice::Named(name.to_owned())),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Choice::Auto => "auto",
            Choice::Cpu => "cpu",
            Choice::CpuMatrixmultiply => "cpu-matrixmultiply",
            Choice::Gpu => "gpu",
            Choice::Named(name) => name,
        })
    }
}

/// A place where plans can run.
#[derive(Clone)]
pub enum Backend {
    /// The CPU, in `f32`, on these threads.
    Cpu(Arc<Team>),
    /// The CPU, in `f32`, with matrix products by the crate `matrixmultiply`.
    CpuMatrixmultiply(Arc<Team>),
    /// The CPU in `f64`: what rounding in `f32` is measured against.
    CpuDouble(Arc<Team>),
    /// A GPU.
    Gpu(Arc<GpuContext>),
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Cpu(_) => "Cpu",
            Backend::CpuMatrixmultiply(_) => "CpuMatrixmultiply",
            Backend::CpuDouble(_) => "CpuDouble",
            Backend::Gpu(_) => "Gpu",
        })
    }
}

impl Backend {
    /// Loads a plan: allocates its memory and prepares its launches.
    pub fn load(&self, plan: Arc<Plan>) -> Result<Box<dyn Device>, DeviceError> {
        Ok(match self {
            Backend::Cpu(team) => Box::new(Cpu::<f32>::new(plan, team.clone())),
            Backend::CpuMatrixmultiply(team) => Box::new(Cpu::<f32>::with_products(
                plan,
                team.clone(),
                Products::Matrixmultiply,
            )),
            Backend::CpuDouble(team) => Box::new(Cpu::<f64>::new(plan, team.clone())),
            Backend::Gpu(context) => Box::new(Gpu::new(context.clone(), plan)?),
        })
    }

    /// The threads of a CPU.
    pub fn team(&self) -> Option<&Arc<Team>> {
        match self {
            Backend::Cpu(team) | Backend::CpuMatrixmultiply(team) | Backend::CpuDouble(team) => {
                Some(team)
            }
            Backend::Gpu(_) => None,
        }
    }

    /// Bytes that one buffer of bytes may have. Kernels count them in 32 bits on a GPU.
    pub fn largest_buffer(&self) -> u64 {
        match self {
            Backend::Cpu(_) | Backend::CpuMatrixmultiply(_) | Backend::CpuDouble(_) => u64::MAX,
            Backend::Gpu(context) => context.largest_buffer().min(u32::MAX.into()),
        }
    }

    /// What reports say of it.
    pub fn info(&self) -> DeviceInfo {
        match self {
            Backend::Cpu(team) | Backend::CpuDouble(team) => DeviceInfo::cpu(team.threads()),
            Backend::CpuMatrixmultiply(team) => DeviceInfo {
                kind: "cpu-matrixmultiply",
                ..DeviceInfo::cpu(team.threads())
            },
            Backend::Gpu(context) => DeviceInfo::gpu(context.name()),
        }
    }
}

/// A backend, and why it was taken.
pub struct Selected {
    /// The backend.
    pub backend: Backend,
    /// One sentence.
    pub reason: String,
}

/// An adapter, as `diabolo devices` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdapterListing {
    /// Its name.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`, …
    pub backend: String,
    /// Driver and version.
    pub driver: String,
    /// Whether it computes on the CPU after all.
    pub software: bool,
    /// Largest buffer in bytes.
    pub max_buffer_size: u64,
    /// Largest part of a buffer that a kernel can be given, in bytes.
    pub max_storage_binding_size: u64,
    /// Bytes of memory a work-group shares.
    pub max_workgroup_memory: u32,
    /// Threads in a work-group.
    pub max_workgroup_threads: u32,
    /// Whether kernels can be timed on it.
    pub timestamps: bool,
    /// Whether kernels may use subgroups.
    pub subgroups: bool,
}

/// The CPU, as `diabolo devices` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CpuListing {
    /// Threads that can run at once.
    pub cores: usize,
    /// Vector instruction sets that matter here.
    pub simd: Vec<&'static str>,
}

/// Everything there is to compute on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Always there.
    pub cpu: CpuListing,
    /// GPUs and software renderers.
    pub adapters: Vec<AdapterListing>,
    /// What `auto` takes: `cpu` or an adapter's name.
    pub auto: String,
    /// Why.
    pub reason: String,
}

fn names(adapters: &[Adapter]) -> String {
    let names = adapters.iter().map(|adapter| adapter.name());
    names.collect::<Vec<_>>().join(", ")
}

/// What `auto` takes: an index into the adapters, or the CPU; and why.
fn auto(adapters: &[Adapter]) -> (Option<usize>, String) {
    match adapters.iter().position(|adapter| !adapter.is_software()) {
        Some(index) => {
            let name = adapters[index].name();
            (Some(index), format!("{name}, the best GPU here"))
        }
        None if adapters.is_empty() => (None, "the CPU, for there is no GPU".to_owned()),
        None => {
            let reason = format!(
                "the CPU, for there is no GPU but a software renderer ({})",
                names(adapters)
            );
            (None, reason)
        }
    }
}

/// Opens the device a user asks for; `threads` are the CPU's, 0 meaning one per core.
pub fn select(choice: &Choice, threads: usize) -> Result<Selected, DeviceError> {
    select_with(choice, threads, GpuOptions::default())
}

/// The same, with shaders built in a particular way if it is a GPU.
pub fn select_with(
    choice: &Choice,
    threads: usize,
    options: GpuOptions,
) -> Result<Selected, DeviceError> {
    let cpu = |reason: String| {
        let backend = Backend::Cpu(Cpu::<f32>::team(threads)?);
        Ok(Selected { backend, reason })
    };
    let adapters = match choice {
        Choice::Cpu => return cpu("the CPU, as asked".to_owned()),
        Choice::CpuMatrixmultiply => {
            return Ok(Selected {
                backend: Backend::CpuMatrixmultiply(Cpu::<f32>::team(threads)?),
                reason: "the CPU with products by matrixmultiply, as asked".to_owned(),
            });
        }
        _ => adapters(),
    };
    let missing = |found: String| DeviceError::NoAdapter {
        asked: choice.to_string(),
        found,
    };
    let (index, reason) = match choice {
        Choice::Auto | Choice::Cpu | Choice::CpuMatrixmultiply => match auto(&adapters) {
            (None, reason) => return cpu(reason),
            (Some(index), reason) => (index, reason),
        },
        Choice::Gpu if adapters.is_empty() => {
            return Err(missing(
                if cfg!(feature = "gpu") {
                    "no adapter was found (is its driver installed?)"
                } else {
                    "this program was built without the feature `gpu`"
                }
                .to_owned(),
            ));
        }
        Choice::Gpu => (0, format!("{}, as asked", adapters[0].name())),
        Choice::Named(part) => {
            let part = part.to_lowercase();
            let matches = |adapter: &Adapter| adapter.name().to_lowercase().contains(&part);
            match adapters.iter().position(matches) {
                Some(index) => (index, format!("{}, as asked", adapters[index].name())),
                None if adapters.is_empty() => {
                    return Err(missing("no adapter was found".to_owned()));
                }
                None => return Err(missing(format!("there is only {}", names(&adapters)))),
            }
        }
    };
    let adapter = &adapters[index];
    let reason = if adapter.is_software() {
        format!("{reason}; it is a SOFTWARE renderer: right, but slower than `--device cpu`")
    } else {
        reason
    };
    let context = adapter.open(options)?;
    Ok(Selected {
        backend: Backend::Gpu(context),
        reason,
    })
}

/// Opens the best adapter, software or not, with these options; none if there is no adapter.
pub fn any_gpu(options: GpuOptions) -> Result<Option<Arc<GpuContext>>, DeviceError> {
    let adapters = adapters();
    let best = adapters.first();
    best.map(|adapter| adapter.open(options)).transpose()
}

/// Lists everything there is to compute on.
pub fn list() -> Listing {
    let adapters = adapters();
    let (index, reason) = auto(&adapters);
    Listing {
        cpu: CpuListing {
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            simd: simd(),
        },
        auto: index.map_or("cpu".to_owned(), |index| adapters[index].name()),
        adapters: adapters.iter().map(Adapter::listing).collect(),
        reason,
    }
}

#[cfg(target_arch = "x86_64")]
fn simd() -> Vec<&'static str> {
    let found = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    let present = found.into_iter().filter(|(_, present)| *present);
    present.map(|(name, _)| name).collect()
}

#[cfg(target_arch = "aarch64")]
fn simd() -> Vec<&'static str> {
    vec!["neon"] // part of the base architecture
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn simd() -> Vec<&'static str> {
    vec![]
}
