//! The launches of a training step, each by itself: the very launches that the recipe's plan has.
//!
//! A launch is repeated, so its operands lie in whichever cache holds them; in a step, other launches
//! come between.

use crate::data::Images;
use crate::plan::{Label, Launch, Pass, PlanBuilder};
use crate::train::{TrainError, Trainer};

use super::harness::timed;
use super::{Effort, Machine, Row, WORKLOADS, alternate, recipe, step};

/// Whether a kernel is one of those that a step's time goes to.
fn is_timed(kernel: &str) -> bool {
    let families = ["gemm", "conv2d", "batch_norm", "adam", "gather"];
    families.iter().any(|family| kernel.starts_with(family))
}

/// Which of a layer's three maps a launch is part of; `backward` of layers that have but one gradient.
fn pass(launch: &Launch) -> Option<&'static str> {
    let Label { pass, part, .. } = &launch.label;
    match pass {
        Pass::Backward if part.starts_with("data") => Some("data gradient"),
        Pass::Backward if part.starts_with("weight") => Some("weight gradient"),
        Pass::Forward | Pass::Backward => Some(pass.name()),
        Pass::Input | Pass::Objective | Pass::Update => None,
    }
}

/// m×k×n of a product, else every operand's.
fn shapes(launch: &Launch) -> String {
    match launch.kernel.product() {
        Some([m, k, n]) => format!("{m}×{k}×{n}"),
        None => launch.shapes(),
    }
}

/// Times the launches of the workloads' training steps on every device, one row each.
pub fn kernels(
    machines: &[Machine],
    workloads: &[&str],
    batch: usize,
    images: &Images,
    effort: Effort,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Row>, TrainError> {
    let held_out = images.pick(&[0]); // a plan wants one
    let mut trainers = Vec::new();
    let mut contestants = Vec::new();
    for (workload, name) in WORKLOADS {
        if !workloads.contains(&workload) {
            continue;
        }
        let recipe = recipe(name, batch);
        for machine in machines {
            let plan = PlanBuilder::taken_apart();
            let trainer = Trainer::in_plan(
                plan,
                &recipe,
                images,
                &held_out,
                &machine.backend,
                None,
                None,
            )?;
            let launches = trainer.program().plan.launches(trainer.program().train);
            let timed = |index: &usize| is_timed(launches[*index].kernel.name());
            for index in (0..launches.len()).filter(timed) {
                contestants.push((workload, machine, trainers.len(), index));
            }
            trainers.push(trainer);
        }
    }
    let run = |contestant: usize, times| {
        let (_, _, loaded, index) = contestants[contestant];
        let trainer = &mut trainers[loaded];
        if index == 0 {
            // A step's first launch: once a round, buffers are filled with what training puts there.
            step::run(trainer, 1)?;
        }
        let program = trainer.program();
        let alone = program.plan.apart(program.train, index);
        let device = trainer.device();
        timed(|| {
            device.run(alone, times)?;
            Ok(device.wait()?)
        })
    };
    let timings = alternate(contestants.len(), effort, run, progress)?;
    let rows = contestants.iter().zip(timings);
    let rows = rows.map(|(&(workload, machine, loaded, index), timing)| {
        let program = trainers[loaded].program();
        let launch = &program.plan.launches(program.train)[index];
        Row {
            batch: Some(batch),
            detail: Some(launch.label.to_string()),
            pass: pass(launch),
            shapes: Some(shapes(launch)),
            ..machine.row(workload, launch.kernel.name(), timing, launch.kernel.cost())
        }
    });
    Ok(rows.collect())
}
