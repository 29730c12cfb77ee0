//! That the form carries more than the models of this crate: a U-Net with skip connections, a step of
//! two turns, as a GAN's, and a level of a Ladder network with a kernel of its own, written here as a user
//! would write them, with every gradient checked on every device.

mod gan;
mod ladder;
mod unet;

use crate::common::adapter;
use diabolo::buffer::{Element, Matrix};
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::GpuOptions;
use diabolo::emit::Emission;
use diabolo::gradcheck::{Case, Input, Named, check};

fn devices() -> Vec<Named> {
    let double = Backend::CpuDouble(Cpu::<f64>::team(1).expect("a thread"));
    let single = Backend::Cpu(Cpu::<f32>::team(1).expect("a thread"));
    let mut devices = vec![("cpu-f64", double), ("cpu-f32", single)];
    devices.extend(adapter::gpu(GpuOptions::default()).map(|gpu| ("gpu", Backend::Gpu(gpu))));
    let named = |(name, backend): (&str, Backend)| Named {
        name: name.to_owned(),
        backend,
    };
    devices.into_iter().map(named).collect()
}

/// Checks a case on every device. Returns how many quantities it has.
fn checked(case: &Case) -> usize {
    let devices = devices();
    let rows = check(case, 0, None, &devices).expect("runs");
    let wrong: Vec<_> = rows.iter().filter(|row| !row.pass).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    rows.len() / devices.len()
}

const ROWS: usize = 6;

fn input(emission: &mut Emission, name: &str, rows: usize, cols: usize) -> (Matrix, Input) {
    let view = emission.plan.persistent(name, Element::Real, rows * cols);
    (view.matrix(rows, cols), Input::Reals(view, 0.0..1.0))
}
