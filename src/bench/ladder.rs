//! The rungs of the ladder, and the product that training uses, on square matrices.

use std::sync::Arc;

use crate::buffer::{Element, Matrix};
use crate::device::{Backend, Device, HostData};
use crate::kernels::gemm::Gemm;
use crate::kernels::gemm_ladder::{Coalesced, Naive, Registers, Subgroup, Tiled, Vectors};
use crate::kernels::{AnyKernel, Kernel};
use crate::machine::memory_limit;
use crate::plan::{PlanBuilder, RoutineId};
use crate::train::TrainError;

use super::harness::timed;
use super::{Effort, Machine, Row, alternate};

/// A rung: its name, its idea on the CPU and on a GPU, and the kernel.
struct Rung {
    name: &'static str,
    ideas: [&'static str; 2],
    kernel: Arc<dyn AnyKernel>,
}

impl Rung {
    fn new(name: &'static str, cpu: &'static str, gpu: &'static str, kernel: impl Kernel) -> Rung {
        Rung {
            name,
            ideas: [cpu, gpu],
            kernel: Arc::new(kernel),
        }
    }
}

/// The rungs that a device has.
fn rungs(backend: &Backend, [a, b, y]: [Matrix; 3]) -> Vec<Rung> {
    let mut rungs = vec![
        Rung::new(
            "naive",
            "three loops, i-j-k",
            "a thread per element",
            Naive { a, b, y },
        ),
        Rung::new(
            "coalesced",
            "loops i-k-j: along rows",
            "neighbouring threads along rows",
            Coalesced { a, b, y },
        ),
        Rung::new(
            "tiled",
            "blocks of b stay in cache",
            "tiles in workgroup memory",
            Tiled { a, b, y },
        ),
        Rung::new(
            "registers",
            "packed, sums in registers",
            "4×4 sums in registers",
            Registers { a, b, y },
        ),
        Rung::new(
            "vectors",
            "matrixmultiply",
            "vec4 in workgroup memory",
            Vectors { a, b, y },
        ),
    ];
    if has_subgroups(backend) {
        let idea = "a in a subgroup's registers";
        rungs.push(Rung::new("subgroup", "", idea, Subgroup { a, b, y }));
    }
    rungs.push(Rung::new(
        "in use",
        "training's, on all threads",
        "training's",
        Gemm::new(a, b, y),
    ));
    rungs
}

fn has_subgroups(backend: &Backend) -> bool {
    matches!(backend, Backend::Gpu(context) if context.has_subgroups())
}

/// A sentence on each device that lacks a rung: a CPU's ladder is complete without it.
pub fn left_out(machines: &[Machine]) -> Vec<String> {
    let lacking = machines
        .iter()
        .filter(|machine| machine.is_gpu() && !has_subgroups(&machine.backend));
    lacking
        .map(|machine| {
            let name = &machine.name;
            format!("ladder, subgroup: left out on {name}, whose driver offers no subgroups")
        })
        .collect()
}

/// A rung on a device.
struct Contestant<'a> {
    machine: &'a Machine,
    /// Index of the loaded plan.
    loaded: usize,
    routine: RoutineId,
    size: usize,
    name: &'static str,
    idea: &'static str,
}

/// Times every rung that a device has, on every device, for products of `size × size`, one row each.
pub fn ladder(
    machines: &[Machine],
    sizes: &[usize],
    effort: Effort,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Row>, TrainError> {
    let mut devices: Vec<Box<dyn Device>> = Vec::new();
    let mut contestants = Vec::new();
    for &size in sizes {
        // Nothing special: no zeros, no infinities, no two neighbours the same.
        let values: Vec<f32> = (0..size * size).map(|i| 1.0 + (i % 251) as f32).collect();
        for machine in machines {
            let mut plan = PlanBuilder::new();
            let [a, b, y] = ["a", "b", "y"].map(|name| {
                let view = plan.persistent(name, Element::Real, size * size);
                view.matrix(size, size)
            });
            for rung in rungs(&machine.backend, [a, b, y]) {
                let routine = plan.begin(rung.name);
                plan.launch_any(rung.name, rung.kernel);
                contestants.push(Contestant {
                    machine,
                    loaded: devices.len(),
                    routine,
                    size,
                    name: rung.name,
                    idea: rung.ideas[usize::from(machine.is_gpu())],
                });
            }
            let plan = Arc::new(plan.finish(memory_limit())?);
            let mut device = machine.backend.load(plan)?;
            for factor in [a, b] {
                device.write(factor.view, HostData::Real(&values))?;
            }
            devices.push(device);
        }
    }
    let run = |contestant: usize, times| {
        let Contestant {
            loaded, routine, ..
        } = contestants[contestant];
        let device = &mut devices[loaded];
        timed(|| {
            device.run(routine, times)?;
            Ok(device.wait()?)
        })
    };
    let timings = alternate(contestants.len(), effort, run, progress)?;
    let rows = contestants.iter().zip(timings).map(|(contestant, timing)| {
        let Contestant { machine, size, .. } = *contestant;
        let cost = devices[contestant.loaded].plan().cost(contestant.routine);
        Row {
            detail: Some(contestant.idea.to_owned()),
            shapes: Some(format!("{size}×{size}×{size}")),
            ..machine.row("ladder", contestant.name, timing, cost)
        }
    });
    Ok(rows.collect())
}
