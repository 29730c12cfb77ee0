//! Optimisers, clipping, softmax and the models beside the autoencoder against PyTorch.

use diabolo::buffer::Element;
use diabolo::emit::{Emission, Group, Init, Layout, Mode, Optimiser, Parameters};
use diabolo::kernels::clock::Advance;
use diabolo::kernels::elementwise::Copy;
use diabolo::kernels::{adam, sgd};
use diabolo::models::{AutoencoderSettings, ClassifierSettings, Settings};
use diabolo::objective::softmax_cross_entropy;
use diabolo::plan::{Pass, PlanBuilder};

use super::harness::{Family, Reference, SINGLE, TRAINED};
use super::{image, model, schedule};

/// Labels as the device holds them: -1 stands for none.
pub fn labels(values: &[f64]) -> Vec<u32> {
    values.iter().map(|&label| label as i64 as u32).collect()
}

#[test]
fn optimisers_over_twenty_steps() {
    let reference = Reference::open("family.safetensors");
    let gradients = reference.values("optimiser.gradients");
    let decaying = adam::Hyperparameters {
        weight_decay: 0.1,
        ..adam::Hyperparameters::default()
    };
    let sgd = |momentum, nesterov, weight_decay| {
        Optimiser::Sgd(sgd::Hyperparameters {
            momentum,
            nesterov,
            weight_decay,
        })
    };
    let mut family = Family::new("optimisers, 20 steps", TRAINED);
    for (name, optimiser, clip) in [
        ("adamw", Optimiser::Adam(decaying), None),
        ("sgd", sgd(0.0, false, 0.0), None),
        ("momentum", sgd(0.9, false, 0.1), None),
        ("nesterov", sgd(0.9, true, 0.0), None),
        ("clipped", sgd(0.0, false, 0.0), Some(5.0)),
    ] {
        let mut emission = Emission::new(PlanBuilder::new(), 0);
        let plan = &mut emission.plan;
        let mut parameters = Parameters::new(plan);
        let (layout, init) = (Layout::vector(50), Init::Constant(0.0));
        let p = parameters.parameter(plan, "p".to_owned(), 50, layout, init);
        let clock = plan.persistent("clock", Element::Index, 2);
        let given = plan.persistent("given", Element::Real, 50);
        let group = Group::new(plan, &parameters, optimiser, 20).with_clip(clip);
        let rates = group.schedule;
        emission.add_group(group);
        let mut e = emission.begin_step("step", Mode::Training, clock, 20);
        let mut at = e.at("p", Pass::Backward);
        at.learn([p], |e, [y]| e.launch("", Copy { x: given, y }));
        e.update(&parameters);
        e.at("clock", Pass::Update).launch("", Advance { clock });
        let routine = e.end().routine;
        let rows: Vec<f64> = (1..=20)
            .flat_map(|t| optimiser.schedule_row(t, 1e-2))
            .collect();
        family.on_every_device(emission.plan.finish(u64::MAX).expect("fits"), |on| {
            on.write(p.value, &reference.values("optimiser.p"));
            on.write(rates, &rows);
            for gradient in gradients.chunks_exact(50) {
                on.write(given, gradient);
                on.run(routine);
            }
            let after = format!("optimiser.{name}.after");
            on.check(&after, p.value, &reference.values(&after));
        });
    }
}

#[test]
fn softmax_cross_entropy_with_rows_without_a_label() {
    let reference = Reference::open("family.safetensors");
    let (logits, shape) = reference.tensor("softmax.logits");
    let mut emission = Emission::new(PlanBuilder::new(), 0);
    let plan = &mut emission.plan;
    let clock = plan.persistent("clock", Element::Index, 2);
    let y = plan.persistent("y", Element::Real, logits.len());
    let of_rows = plan.persistent("labels", Element::Index, shape[0]);
    let mut e = emission.begin_step("loss", Mode::Training, clock, 1);
    let dy = softmax_cross_entropy(&mut e, y.matrix(shape[0], shape[1]), of_rows);
    let dy = dy.matrix().view;
    e.keep(dy);
    let emitted = e.end();
    let mut family = Family::new("softmax", SINGLE);
    family.on_every_device(emission.plan.finish(u64::MAX).expect("fits"), |on| {
        on.write(y, &logits);
        on.write_indices(of_rows, &labels(&reference.values("softmax.labels")));
        on.run(emitted.routine);
        let values = |what: &str| reference.values(&format!("softmax.{what}"));
        on.check("softmax value", emitted.notes[0].values, &values("value"));
        on.check("softmax error", emitted.notes[1].values, &values("error"));
        on.check("softmax dy", dy, &values("dy"));
    });
}

#[test]
fn a_tied_autoencoder_and_a_classifier_over_twenty_steps() {
    let reference = Reference::open("family.safetensors");
    let mut family = Family::new("tied and classifier, 20 steps", TRAINED);
    let tied = Settings::Autoencoder(AutoencoderSettings {
        tied: true,
        ..AutoencoderSettings::dense(&[9], 3)
    });
    let classifier = Settings::Classifier(ClassifierSettings::dense(&[9, 7]));
    for (name, settings, classes) in [("tied", tied, 0), ("classifier", classifier, 4)] {
        let prefix = format!("model.{name}");
        let values = |what: &str| reference.values(&format!("{prefix}.{what}"));
        let (clean, noisy) = (values("clean"), values("noisy"));
        let (model, plan) = model(&settings, image(1, 12, 1), 33, classes);
        let of_steps = model.labels.map(|_| labels(&values("labels")));
        family.on_every_device(plan.finish(u64::MAX).expect("fits"), |on| {
            for tensor in &model.tensors {
                let before = format!("{prefix}.before.{}", tensor.name);
                on.write(tensor.value, &reference.stored(&before, &tensor.layout));
            }
            on.write(model.schedule, &schedule(20, 1e-3));
            let per_step = 33 * 12;
            let batches = clean
                .chunks_exact(per_step)
                .zip(noisy.chunks_exact(per_step));
            for (step, (clean, noisy)) in batches.enumerate() {
                on.write(model.clean, clean);
                on.write(model.noisy, noisy);
                if let (Some(view), Some(labels)) = (model.labels, &of_steps) {
                    on.write_indices(view, &labels[33 * step..][..33]);
                }
                on.run(model.step);
            }
            on.check(&prefix, model.notes[0].values, &values("losses"));
            for tensor in &model.tensors {
                let after = format!("{prefix}.after.{}", tensor.name);
                let expected = reference.stored(&after, &tensor.layout);
                on.check(&after, tensor.value, &expected);
            }
            on.write(model.clean, &clean[..per_step]);
            on.run(model.encode);
            on.check(&prefix, model.codes, &values("codes"));
        });
    }
}
