//! Layers, losses, Adam and whole models against PyTorch's numbers, and models from one to the
//! other.
//!
//! `generate.py` wrote the numbers, in double precision. `cargo test --release --test it pytorch:: --
//! --nocapture` prints how many tensors were compared and the worst error, as a part of the
//! tensor's largest value.

mod convolution;
mod family;
mod given;
mod harness;
mod round_trip;

use diabolo::buffer::{Element, View};
use diabolo::emit::{Emission, Group, Init, Layout, Mode, Note, Optimiser, Parameters, Tensor};
use diabolo::image::ImageShape;
use diabolo::kernels::Activation;
use diabolo::kernels::adam::Hyperparameters;
use diabolo::kernels::clock::Advance;
use diabolo::kernels::elementwise::Copy;
use diabolo::kernels::loss::Loss;
use diabolo::layers::{ActivationLayer, BatchNorm, Dense, Layer};
use diabolo::models::{AutoencoderSettings, Batch, Convolution, Pool, Settings, Size, Task, Use};
use diabolo::objective::{Per, reconstruction};
use diabolo::plan::{Pass, PlanBuilder, RoutineId};

use harness::{Case, Family, Make, Reference, SINGLE, TRAINED, alone, check_layers};

/// An activation's name in the files of references.
fn in_pytorch(activation: Activation) -> String {
    activation.name().replace('-', "_")
}

/// Layers whose inputs are in the file of references too.
fn check(family: &mut Family, reference: &Reference, prefix: String, make: &Make) {
    let (x, shape) = reference.tensor(&format!("{prefix}.x"));
    let case = Case {
        reference,
        shape: [shape[0], shape[1]],
        x,
        dy: reference.values(&format!("{prefix}.dy")),
        initial: &|what, _| reference.values(&format!("{prefix}.{what}")),
        prefix: prefix.clone(),
    };
    check_layers(family, &case, make);
}

#[test]
fn dense() {
    let reference = Reference::open("reference.safetensors");
    let mut family = Family::new("layers: dense", SINGLE);
    for activation in Activation::FUSIBLE {
        let make = move |plan: &mut PlanBuilder, parameters: &mut Parameters| {
            let dense = Dense::new(plan, parameters, "layer", [9, 5], 1.0);
            alone(dense.with_bias(plan, parameters, activation))
        };
        let prefix = format!("dense.{}", in_pytorch(activation));
        check(&mut family, &reference, prefix, &make);
    }
}

#[test]
fn activations_as_layers_of_their_own() {
    let fusible = Reference::open("reference.safetensors");
    let others = Reference::open("activation.safetensors");
    let mut family = Family::new("layers: activation", SINGLE);
    for activation in Activation::ALL {
        let make = move |plan: &mut PlanBuilder, parameters: &mut Parameters| {
            let dense = Dense::new(plan, parameters, "layer", [9, 5], 1.0);
            let dense = dense.with_bias(plan, parameters, Activation::Identity);
            let name = activation.name().to_owned();
            let mut stack = alone(dense);
            stack.push(ActivationLayer { name, activation });
            stack
        };
        let reads_input = activation.reads_input();
        let reference = if reads_input { &others } else { &fusible };
        let prefix = format!("dense.{}", in_pytorch(activation));
        check(&mut family, reference, prefix, &make);
    }
}

#[test]
fn batch_norm() {
    let reference = Reference::open("reference.safetensors");
    let mut family = Family::new("layers: batch norm", SINGLE);
    for activation in Activation::FUSIBLE {
        let make = move |plan: &mut PlanBuilder, parameters: &mut Parameters| {
            alone(BatchNorm::new(plan, parameters, "layer", 7, activation))
        };
        let prefix = format!("batch_norm.{}", in_pytorch(activation));
        check(&mut family, &reference, prefix, &make);
    }
}

#[test]
fn batch_norm_in_evaluation() {
    let reference = Reference::open("reference.safetensors");
    let evaluation = Reference::open("evaluation.safetensors");
    let mut family = Family::new("layers: batch norm, evaluation", SINGLE);
    for activation in Activation::FUSIBLE {
        let prefix = format!("batch_norm.{}", in_pytorch(activation));
        let (values, shape) = reference.tensor(&format!("{prefix}.x"));
        let mut emission = Emission::new(PlanBuilder::new(), 0);
        let plan = &mut emission.plan;
        let mut parameters = Parameters::new(plan);
        let norm = BatchNorm::new(plan, &mut parameters, "layer", 7, activation);
        let x = plan
            .persistent("x", Element::Real, values.len())
            .matrix(shape[0], shape[1]);
        let mut e = emission.begin("evaluate", Mode::Evaluation);
        let y = norm.forward(&mut e, x).0.view;
        e.keep(y);
        let routine = e.end().routine;
        family.on_every_device(emission.plan.finish(u64::MAX).expect("fits"), |on| {
            for tensor in &parameters.tensors {
                // The statistics that the training step has left.
                let name = tensor.name.replace("layer.running", "layer.new");
                let name = name.replace("layer", &prefix);
                on.write(tensor.value, &reference.stored(&name, &tensor.layout));
            }
            on.write(x.view, &values);
            on.run(routine);
            let name = format!("{prefix}.y");
            on.check(&name, y, &evaluation.values(&name));
        });
    }
}

#[test]
fn losses() {
    let reference = Reference::open("reference.safetensors");
    let mut family = Family::new("losses", SINGLE);
    for (name, loss) in [
        ("mse", Loss::MeanSquaredError),
        ("bce", Loss::BinaryCrossEntropy),
    ] {
        let values = |what: &str| reference.values(&format!("loss.{name}.{what}"));
        let elements = values("y").len();
        let mut emission = Emission::new(PlanBuilder::new(), 0);
        let plan = &mut emission.plan;
        let clock = plan.persistent("clock", Element::Index, 2);
        let [y, target] = ["y", "target"].map(|n| plan.persistent(n, Element::Real, elements));
        let mut e = emission.begin_step("loss", Mode::Training, clock, 1);
        let [of_y, of_target] = [y, target].map(|view| view.matrix(1, elements));
        let dy = reconstruction(&mut e, name, loss, Per::Element, of_y, of_target);
        let dy = dy.matrix().view;
        e.keep(dy);
        let emitted = e.end();
        let (routine, losses) = (emitted.routine, emitted.notes[0].values);
        family.on_every_device(emission.plan.finish(u64::MAX).expect("fits"), |on| {
            on.write(y, &values("y"));
            on.write(target, &values("target"));
            on.run(routine);
            on.check(&format!("{name} value"), losses, &values("value"));
            on.check(&format!("{name} dy"), dy, &values("dy"));
        });
    }
}

/// Lets updates of these parameters be Adam's. Returns where its schedule of 20 steps lies.
fn adam(emission: &mut Emission, parameters: &Parameters) -> View {
    let optimiser = Optimiser::Adam(Hyperparameters::default());
    let group = Group::new(&mut emission.plan, parameters, optimiser, 20);
    let schedule = group.schedule;
    emission.add_group(group);
    schedule
}

fn schedule(steps: u64, rate: f64) -> Vec<f64> {
    let row = |t| Hyperparameters::default().schedule_row(t, rate);
    (1..=steps).flat_map(row).collect()
}

#[test]
fn adam_over_twenty_steps() {
    let reference = Reference::open("reference.safetensors");
    let gradients = reference.values("adam.gradients");
    let mut emission = Emission::new(PlanBuilder::new(), 0);
    let plan = &mut emission.plan;
    let mut parameters = Parameters::new(plan);
    let (layout, init) = (Layout::vector(50), Init::Constant(0.0));
    let p = parameters.parameter(plan, "p".to_owned(), 50, layout, init);
    let clock = plan.persistent("clock", Element::Index, 2);
    let given = plan.persistent("given", Element::Real, 50);
    let rates = adam(&mut emission, &parameters);
    let mut e = emission.begin_step("step", Mode::Training, clock, 20);
    let mut at = e.at("p", Pass::Backward);
    at.learn([p], |e, [y]| e.launch("", Copy { x: given, y }));
    e.update(&parameters);
    e.at("clock", Pass::Update).launch("", Advance { clock });
    let routine = e.end().routine;
    let plan = emission.plan;
    let mut family = Family::new("adam, 20 steps", TRAINED);
    family.on_every_device(plan.finish(u64::MAX).expect("fits"), |on| {
        on.write(p.value, &reference.values("adam.p"));
        on.write(rates, &schedule(20, 1e-2));
        for gradient in gradients.chunks_exact(50) {
            on.write(given, gradient);
            on.run(routine);
        }
        on.check("p", p.value, &reference.values("adam.after"));
    });
}

/// A model's routines and what the test touches of it.
struct Model {
    tensors: Vec<Tensor>,
    step: RoutineId,
    encode: RoutineId,
    clean: View,
    noisy: View,
    labels: Option<View>,
    codes: View,
    notes: Vec<Note>,
    schedule: View,
}

fn model(
    settings: &Settings,
    image: ImageShape,
    batch: usize,
    classes: usize,
) -> (Model, PlanBuilder) {
    let mut emission = Emission::new(PlanBuilder::new(), 0);
    let plan = &mut emission.plan;
    let model = settings.build(plan, Task { image, classes }, &[]);
    let model = model.expect("fits");
    let clock = plan.persistent("clock", Element::Index, 2);
    let features = image.features();
    let [clean, noisy] = ["clean", "noisy"].map(|name| {
        plan.persistent(name, Element::Real, batch * features)
            .matrix(batch, features)
    });
    let labels = model.reads_labels();
    let labels = labels.then(|| plan.persistent("labels", Element::Index, batch));
    let schedule = adam(&mut emission, model.parameters()[0]);
    let mut e = emission.begin_step("step", Mode::Training, clock, 20);
    model.train(
        &mut e,
        &Batch {
            clean,
            noisy,
            labels,
        },
    );
    e.at("clock", Pass::Update).launch("", Advance { clock });
    let step = e.end();
    let mut e = emission.begin("encode", Mode::Evaluation);
    let codes = model.emit_use(&mut e, Use::Encode, clean);
    e.keep(codes.view);
    let encode = e.end().routine;
    let model = Model {
        tensors: model.parameters()[0].tensors.clone(),
        step: step.routine,
        encode,
        clean: clean.view,
        noisy: noisy.view,
        labels,
        codes: codes.view,
        notes: step.notes,
        schedule,
    };
    (model, emission.plan)
}

/// 12-9-7-3 and its mirror.
fn dense_model(loss: Loss) -> Settings {
    let dense = AutoencoderSettings::dense(&[9, 7], 3);
    Settings::Autoencoder(AutoencoderSettings { loss, ..dense })
}

fn image(height: usize, width: usize, channels: usize) -> ImageShape {
    ImageShape {
        height,
        width,
        channels,
    }
}

/// Two convolutions with a pooling between them, on colour images.
fn convolutional_model() -> Settings {
    let convolution = |channels, stride, pool| Convolution {
        channels,
        kernel: Size::Both(3),
        stride: Size::Both(stride),
        padding: Some(Size::Both(1)),
        dilation: Size::Both(1),
        pool,
    };
    Settings::Autoencoder(AutoencoderSettings {
        convolutions: vec![convolution(4, 1, Some(Pool::Max)), convolution(5, 2, None)],
        activation: Activation::Elu,
        ..AutoencoderSettings::dense(&[6], 3)
    })
}

#[test]
fn whole_autoencoders_over_twenty_steps_with_the_same_noise() {
    let reference = Reference::open("reference.safetensors");
    let mut family = Family::new("models, 20 steps", TRAINED);
    let (row, colour) = (image(1, 12, 1), image(12, 8, 3));
    for (name, settings, image, batch) in [
        ("mse", dense_model(Loss::MeanSquaredError), row, 33),
        ("bce", dense_model(Loss::BinaryCrossEntropy), row, 33),
        ("conv", convolutional_model(), colour, 5),
    ] {
        let values_per_batch = batch * image.features();
        let prefix = format!("model.{name}");
        let values = |what: &str| reference.values(&format!("{prefix}.{what}"));
        let (clean, noisy) = (values("clean"), values("noisy"));
        let (model, plan) = model(&settings, image, batch, 0);
        family.on_every_device(plan.finish(u64::MAX).expect("fits"), |on| {
            for tensor in &model.tensors {
                let before = format!("{prefix}.before.{}", tensor.name);
                on.write(tensor.value, &reference.stored(&before, &tensor.layout));
            }
            on.write(model.schedule, &schedule(20, 1e-3));
            let batches = clean.chunks_exact(values_per_batch);
            for (clean, noisy) in batches.zip(noisy.chunks_exact(values_per_batch)) {
                on.write(model.clean, clean);
                on.write(model.noisy, noisy);
                on.run(model.step);
            }
            on.check(&prefix, model.notes[0].values, &values("losses"));
            for tensor in &model.tensors {
                let after = format!("{prefix}.after.{}", tensor.name);
                let expected = reference.stored(&after, &tensor.layout);
                on.check(&after, tensor.value, &expected);
            }
            on.write(model.clean, &clean[..values_per_batch]);
            on.run(model.encode);
            on.check(&prefix, model.codes, &values("codes"));
        });
    }
}
