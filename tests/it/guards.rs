//! No kernel touches what lies beside its operands: a whole training step in a plan whose every
//! buffer has guards on both sides, on every device.
//!
//! Guards are filled with NaN. A write out of bounds changes one; a read out of bounds that gets into
//! a result makes it NaN, or at least another number than without guards.

use crate::common::adapter;
use crate::common::{digits, small, small_conv};
use diabolo::buffer::Element;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::GpuOptions;
use diabolo::device::{Backend, HostData};
use diabolo::models::Pool;
use diabolo::plan::PlanBuilder;
use diabolo::recipe::Recipe;
use diabolo::train::Trainer;

const INDEX: u32 = 0xCAFE_F00D;

fn trainer(plan: PlanBuilder, recipe: &Recipe, backend: &Backend) -> Trainer {
    let data = digits();
    Trainer::in_plan(plan, recipe, &data.train, &data.test, backend, None, None).expect("fits")
}

/// Digest of the weights, and the held-out loss, after a few steps.
fn results(trainer: &mut Trainer) -> (String, f64) {
    trainer.run_steps(3).expect("runs");
    let loss = trainer.held_out_loss().expect("runs");
    (trainer.weights().expect("readable").sha256(), loss)
}

fn check(recipe: &Recipe, name: &str, backend: &Backend) {
    let mut guarded = trainer(PlanBuilder::guarded(), recipe, backend);
    let plan = guarded.program().plan.clone();
    let guards: Vec<_> = plan
        .guards()
        .into_iter()
        .filter(|view| plan.buffer(*view).element != Element::Byte) // never written by a kernel
        .collect();
    assert!(guards.len() > 100 && guards.iter().all(|view| view.len > 0));
    for &view in &guards {
        let device = guarded.device();
        let filled = match plan.buffer(view).element {
            Element::Real => device.write(view, HostData::Real(&vec![f32::NAN; view.len])),
            _ => device.write(view, HostData::Index(&vec![INDEX; view.len])),
        };
        filled.expect("fits");
    }
    let got = results(&mut guarded);
    for &view in &guards {
        let device = guarded.device();
        let intact = match plan.buffer(view).element {
            Element::Real => device
                .read_real(view)
                .expect("readable")
                .iter()
                .all(|x| x.is_nan()),
            _ => device
                .read_index(view)
                .expect("readable")
                .iter()
                .all(|&x| x == INDEX),
        };
        let buffer = &plan.buffer(view).name;
        assert!(intact, "{name}: something was written beside `{buffer}`");
    }
    let expected = results(&mut trainer(PlanBuilder::new(), recipe, backend));
    assert_eq!(got, expected, "{name}: something was read beside a buffer");
}

#[test]
fn a_training_step_touches_nothing_beside_its_buffers() {
    let pool = || Cpu::<f32>::team(2).expect("threads");
    let mut devices = vec![
        ("cpu-f32", Backend::Cpu(pool())),
        ("cpu-f64", Backend::CpuDouble(pool())),
    ];
    devices.extend(adapter::gpu(GpuOptions::default()).map(|gpu| ("gpu", Backend::Gpu(gpu))));
    let mut averaged = small_conv();
    averaged.model.autoencoder_mut().expect("one").convolutions[0].pool = Some(Pool::Average);
    for mut recipe in [small(), small_conv(), averaged] {
        // Ragged everywhere: 33 rows, 37 and 5 columns.
        recipe.train.batch = 33;
        recipe.model.autoencoder_mut().expect("one").hidden = vec![37];
        recipe.model.autoencoder_mut().expect("one").code = 5;
        for (name, backend) in &devices {
            check(&recipe, name, backend);
        }
    }
}
