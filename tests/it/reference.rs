//! The file of plain loops, `examples/reference.rs`, and the engine are two writings of one model: the same
//! numbers, to rounding, over twenty steps.

// The example has no imports and is no library: the test compiles its text.
#[path = "../../examples/reference.rs"]
mod example;

use std::sync::Arc;

use diabolo::buffer::{Element, View};
use diabolo::device::cpu::Cpu;
use diabolo::device::{Device, HostData};
use diabolo::emit::{Emission, Group, Mode, Optimiser, Role, Tensor};
use diabolo::image::ImageShape;
use diabolo::kernels::adam::Hyperparameters;
use diabolo::kernels::clock::Advance;
use diabolo::models::{AutoencoderSettings, Batch, Settings, Task};
use diabolo::plan::{Pass, PlanBuilder};
use example::{Autoencoder, Random};

const ROWS: usize = 33;
const WIDTHS: [usize; 3] = [12, 9, 4];
const STEPS: usize = 20;
const RATE: f64 = 1e-2;

/// The engine's tensors of a role, in the order of the reference's layers.
fn of_role(tensors: &[Tensor], role: Role) -> Vec<View> {
    let tensors = tensors.iter().filter(|tensor| tensor.role == role);
    tensors.map(|tensor| tensor.value).collect()
}

/// How far numbers are apart, as a part of the largest.
fn apart(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |max, x| max.max(x.abs()));
    let pairs = got.iter().zip(expected);
    pairs.fold(0.0f64, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

/// The worst difference of any parameter or running statistic, with the engine at a learning rate.
fn after_twenty_steps(rate: f64) -> f64 {
    let mut random = Random(7);
    let mut model = Autoencoder::new(&WIDTHS, &mut random);

    let mut emission = Emission::new(PlanBuilder::new(), 0);
    let plan = &mut emission.plan;
    let settings = Settings::Autoencoder(AutoencoderSettings::dense(&WIDTHS[1..2], WIDTHS[2]));
    let image = ImageShape {
        height: 1,
        width: WIDTHS[0],
        channels: 1,
    };
    let engine = settings.build(plan, Task { image, classes: 0 }, &[]);
    let engine = engine.expect("fits");
    let clock = plan.persistent("clock", Element::Index, 2);
    let [clean, noisy] = ["clean", "noisy"].map(|name| {
        let view = plan.persistent(name, Element::Real, ROWS * WIDTHS[0]);
        view.matrix(ROWS, WIDTHS[0])
    });
    let adam = Optimiser::Adam(Hyperparameters::default());
    let group = Group::new(plan, engine.parameters()[0], adam, STEPS);
    let schedule = group.schedule;
    emission.add_group(group);
    let mut e = emission.begin_step("train", Mode::Training, clock, STEPS);
    let batch = Batch {
        clean,
        noisy,
        labels: None,
    };
    engine.train(&mut e, &batch);
    e.at("clock", Pass::Update).launch("", Advance { clock });
    let step = e.end();
    let tensors = engine.parameters()[0].tensors.clone();
    let plan = Arc::new(emission.plan.finish(u64::MAX).expect("fits"));

    let mut device = Cpu::<f64>::new(plan, Cpu::<f64>::team(2).expect("threads"));
    let mut write = |view, values: &[f64]| {
        device
            .write(view, HostData::Double(values))
            .expect("the same shapes")
    };
    let learnt = of_role(&tensors, Role::Parameter);
    assert_eq!(learnt.len(), model.parameters().len());
    for (view, parameter) in learnt.iter().zip(model.parameters()) {
        write(*view, &parameter.value);
    }
    let running = of_role(&tensors, Role::Running);
    for (views, layer) in running.chunks(2).zip(&model.hidden) {
        write(views[0], &layer.running_mean);
        write(views[1], &layer.running_variance);
    }
    let rates: Vec<f64> = (1..=STEPS as u64)
        .flat_map(|t| adam.schedule_row(t, rate))
        .collect();
    write(schedule, &rates);

    let mut losses = Vec::new();
    for _ in 0..STEPS {
        let images: Vec<f64> = (0..ROWS * WIDTHS[0]).map(|_| random.uniform()).collect();
        let shaken: Vec<f64> = images.iter().map(|x| x + 0.3 * random.normal()).collect();
        losses.push(model.train(&images, &shaken, ROWS, RATE));
        let mut write = |view, values: &[f64]| {
            device
                .write(view, HostData::Double(values))
                .expect("the same shapes")
        };
        write(clean.view, &images);
        write(noisy.view, &shaken);
        device.run(step.routine, 1).expect("runs");
    }

    let mut worst = apart(device.reals(step.notes[0].values), &losses);
    for (view, parameter) in learnt.iter().zip(model.parameters()) {
        worst = worst.max(apart(device.reals(*view), &parameter.value));
    }
    for (views, layer) in running.chunks(2).zip(&model.hidden) {
        let of_layer = [&layer.running_mean, &layer.running_variance];
        for (view, expected) in views.iter().zip(of_layer) {
            worst = worst.max(apart(device.reals(*view), expected));
        }
    }
    worst
}

#[test]
fn plain_loops_and_the_engine_come_to_the_same_numbers_over_twenty_steps() {
    // Some thousand roundings of f64, at 1e-16 each.
    let worst = after_twenty_steps(RATE);
    println!("worst difference {worst:.1e}");
    assert!(worst < 1e-12, "{worst:e}");
    // And a learning rate that is off by a millionth is seen.
    assert!(after_twenty_steps(RATE * (1.0 + 1e-6)) > 1e-9);
}
