//! Every hand-written gradient on every device, and every known mistake in them.

use std::collections::BTreeSet;

use crate::common::adapter::gpu;
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::GpuOptions;
use diabolo::gradcheck::{
    Case, MISTAKES, Named, Row, check, layer_cases, layer_names, model_case, sweep,
};
use diabolo::recipe::{BUILT_IN, Recipe};
use rayon::prelude::*;

/// Every layer and loss in `shapes` random shapes, and every built-in model.
fn cases(shapes: usize, seed: u64) -> Vec<Case> {
    let layers = layer_names().into_iter();
    let layers = layers.flat_map(|name| layer_cases(name, shapes, seed).expect("there is"));
    let models = BUILT_IN.iter().map(|(name, _)| {
        let recipe = Recipe::load(name).expect("built in");
        model_case(&recipe).expect("fits")
    });
    layers.chain(models).collect()
}

fn devices() -> Vec<Named> {
    let named = |name: &str, backend| Named {
        name: name.to_owned(),
        backend,
    };
    let mut devices = vec![
        named(
            "cpu-f64",
            Backend::CpuDouble(Cpu::<f64>::team(2).expect("threads")),
        ),
        named(
            "cpu-f32",
            Backend::Cpu(Cpu::<f32>::team(2).expect("threads")),
        ),
    ];
    for (name, options) in [
        ("gpu", GpuOptions::default()),
        ("gpu-naive", GpuOptions::naive()),
    ] {
        devices.extend(gpu(options).map(|context| named(name, Backend::Gpu(context))));
    }
    devices
}

#[test]
fn every_gradient_is_right_on_every_device() {
    let devices = devices();
    for seed in 0..3 {
        let cases = cases(6, seed);
        let rows: Vec<Row> = cases
            .par_iter()
            .flat_map(|case| check(case, seed, None, &devices).expect("runs"))
            .collect();
        for Named { name, .. } in &devices {
            let rows: Vec<&Row> = rows.iter().filter(|row| row.device == *name).collect();
            let sum = |count: fn(&Row) -> usize| rows.iter().map(|row| count(row)).sum::<usize>();
            let worst = rows.iter().map(|row| row.max_rel_error).fold(0.0, f64::max);
            let part = rows.iter().map(|row| row.max_rel_error / row.tolerance);
            println!(
                "seed {seed}, {name}: {} quantities, {} points, {} skipped, worst {worst:.1e}, at \
                 most {:.2} of what is allowed",
                rows.len(),
                sum(|row| row.checked),
                sum(|row| row.skipped),
                part.fold(0.0, f64::max)
            );
        }
        let wrong: Vec<&Row> = rows.iter().filter(|row| !row.pass).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn every_planted_mistake_is_found_on_every_device() {
    let (cases, devices) = (cases(3, 0), devices());
    for mistake in MISTAKES {
        let rows: Vec<Row> = cases
            .par_iter()
            .flat_map(|case| check(case, 0, Some(mistake), &devices).expect("runs"))
            .collect();
        // In every layer that has a place for it, not just somewhere.
        let layers: BTreeSet<&str> = rows.iter().map(|row| row.layer.as_str()).collect();
        for (layer, device) in layers
            .iter()
            .flat_map(|l| devices.iter().map(move |d| (l, d)))
        {
            let mut of_both = rows.iter().filter(|row| row.layer == *layer);
            let found = of_both.any(|row| row.device == device.name && !row.pass);
            assert!(found, "{} in {layer} on {}", mistake.name, device.name);
        }
        for device in &devices {
            let of_device = || rows.iter().filter(|row| row.device == device.name);
            let found = of_device().filter(|row| !row.pass);
            let worst = found.clone().map(|row| row.max_rel_error / row.tolerance);
            println!(
                "{:<26} on {:<9}: {:>2} of {:>3} quantities wrong, by up to {:.0e} times the tolerance",
                mistake.name,
                device.name,
                found.clone().count(),
                of_device().count(),
                worst.fold(0.0, f64::max)
            );
            assert!(found.count() > 0, "{} on {}", mistake.name, device.name);
        }
    }
    println!(
        "{} mistakes, all found on {} devices",
        MISTAKES.len(),
        devices.len()
    );
}

#[test]
fn the_error_of_differences_over_their_width_is_a_v() {
    let case = layer_cases("dense", 1, 0).expect("there is").into_iter();
    let case = case.last().expect("softplus");
    let points = sweep(&case, 0).expect("runs").points;
    let (first, last) = (points[0], points[points.len() - 1]);
    assert!(first.step > 9e-3 && last.step < 1.1e-9);
    let lowest = |curve: fn(&diabolo::gradcheck::SweepPoint) -> f64| {
        let of = |a: &&_, b: &&_| curve(a).total_cmp(&curve(b));
        let lowest = points.iter().min_by(of).expect("points");
        assert!(
            curve(lowest) < 0.1 * curve(&first).min(curve(&last)),
            "{points:?}"
        );
        (lowest.step, curve(lowest))
    };
    // Where h² = ε/h: near ε^(1/3), which is 6e-6 in f64 and 4e-3 in f32.
    let (step, error) = lowest(|point| point.central);
    assert!(
        (1e-6..1e-4).contains(&step) && error < 1e-8,
        "{step} {error}"
    );
    let (step, error) = lowest(|point| point.fourth_order);
    assert!(
        (1e-4..1e-2).contains(&step) && error < 1e-10,
        "{step} {error}"
    );
    let best = points
        .iter()
        .map(|point| point.single)
        .fold(f64::INFINITY, f64::min);
    assert!(
        (1e-6..1e-2).contains(&best),
        "f32 could be checked so: {best}"
    );
    assert!(last.single >= 1.0, "at h = 1e-9 nothing is left in f32");
}
