//! The rungs of the ladder, and the product that training uses, on square matrices.

use std::sync::Arc;

use crate::device::{Device, HostData};
use crate::kernels::AnyKernel;
use crate::kernels::gemm::Gemm;
use crate::kernels::gemm_ladder::{Coalesced, Naive, Registers, Tiled, Vectors};
use crate::machine::memory_limit;
use crate::plan::{Element, Matrix, PlanBuilder, RoutineId};
use crate::train::TrainError;

use super::harness::timed;
use super::{Effort, Machine, Row, alternate};

/// A rung: its name, its idea on the CPU and on a GPU, and the kernel.
struct Rung {
    name: &'static str,
    ideas: [&'static str; 2],
    kernel: AnyKernel,
}

fn rungs(a: Matrix, b: Matrix, y: Matrix) -> [Rung; 6] {
    let rung = |name, cpu, gpu, kernel| Rung {
        name,
        ideas: [cpu, gpu],
        kernel,
    };
    [
        rung(
            "naive",
            "three loops, i-j-k",
            "a thread per element",
            Naive { a, b, y }.into(),
        ),
        rung(
            "coalesced",
            "loops i-k-j: along rows",
            "neighbouring threads along rows",
            Coalesced { a, b, y }.into(),
        ),
        rung(
            "tiled",
            "blocks of b stay in cache",
            "tiles in workgroup memory",
            Tiled { a, b, y }.into(),
        ),
        rung(
            "registers",
            "packed, sums in registers",
            "4×4 sums in registers",
            Registers { a, b, y }.into(),
        ),
        rung(
            "vectors",
            "matrixmultiply",
            "vec4 in workgroup memory",
            Vectors { a, b, y }.into(),
        ),
        rung(
            "in use",
            "training's, on all threads",
            "training's",
            Gemm::new(a, b, y).into(),
        ),
    ]
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

/// Times every rung on every device for products of `size × size`, one row each.
pub fn ladder(
    machines: &[Machine],
    sizes: &[usize],
    effort: Effort,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Row>, TrainError> {
    let mut devices: Vec<Box<dyn Device>> = Vec::new();
    let mut contestants = Vec::new();
    for &size in sizes {
        let mut plan = PlanBuilder::new();
        let [a, b, y] = ["a", "b", "y"].map(|name| {
            let view = plan.persistent(name, Element::Real, size * size);
            view.matrix(size, size)
        });
        let rungs = rungs(a, b, y).map(|rung| {
            let routine = plan.begin(rung.name);
            plan.launch(rung.name, rung.kernel);
            (routine, rung.name, rung.ideas)
        });
        let plan = Arc::new(plan.finish(memory_limit())?);
        // Nothing special: no zeros, no infinities, no two neighbours the same.
        let values: Vec<f32> = (0..size * size).map(|i| 1.0 + (i % 251) as f32).collect();
        for machine in machines {
            let mut device = machine.backend.load(plan.clone())?;
            for factor in [a, b] {
                device.write(factor.view, HostData::Real(&values))?;
            }
            devices.push(device);
            let loaded = devices.len() - 1;
            contestants.extend(rungs.map(|(routine, name, ideas)| Contestant {
                machine,
                loaded,
                routine,
                size,
                name,
                idea: ideas[usize::from(machine.is_gpu())],
            }));
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
