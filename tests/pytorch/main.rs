//! Layers, losses, Adam and whole models against PyTorch's numbers, and models from one to the
//! other.
//!
//! `generate.py` wrote the numbers, in double precision. `cargo test --release --test pytorch --
//! --nocapture` prints how many tensors were compared and the worst error, as a part of the
//! tensor's largest value.

#[path = "../common/adapter.rs"]
mod adapter;
mod convolution;
mod harness;
#[path = "../common/program.rs"]
mod program;
mod round_trip;

use diabolo::buffer::{Element, View};
use diabolo::image::ImageShape;
use diabolo::kernels::Activation;
use diabolo::kernels::adam::{Adam, Hyperparameters};
use diabolo::kernels::clock::Advance;
use diabolo::kernels::loss::{self, Loss};
use diabolo::layers::{ActivationLayer, BatchNorm, Dense, Layer, Layout, Mode, Parameters, Stack};
use diabolo::models::{Autoencoder, Pool, Shape, Stage};
use diabolo::plan::{PlanBuilder, RoutineId};
use diabolo::train::{note_loss, train_step};

use harness::{Case, Family, Make, Reference, SINGLE, TRAINED, alone, check_layers};

const ACTIVATIONS: [(&str, Activation); 7] = [
    ("identity", Activation::Identity),
    ("relu", Activation::Relu),
    ("leaky_relu", Activation::LeakyRelu),
    ("elu", Activation::Elu),
    ("sigmoid", Activation::Sigmoid),
    ("tanh", Activation::Tanh),
    ("softplus", Activation::Softplus),
];

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
    for (name, activation) in ACTIVATIONS {
        let make = move |plan: &mut PlanBuilder, parameters: &mut Parameters| {
            let dense = Dense::new(plan, parameters, "layer", [9, 5], 1.0);
            alone(dense.with_bias(plan, parameters, activation))
        };
        check(&mut family, &reference, format!("dense.{name}"), &make);
    }
}

#[test]
fn activations_as_layers_of_their_own() {
    let reference = Reference::open("reference.safetensors");
    let mut family = Family::new("layers: activation", SINGLE);
    for (name, activation) in ACTIVATIONS {
        let make = move |plan: &mut PlanBuilder, parameters: &mut Parameters| {
            let dense = Dense::new(plan, parameters, "layer", [9, 5], 1.0);
            let dense = dense.with_bias(plan, parameters, Activation::Identity);
            let name = name.to_owned();
            Stack {
                layers: vec![
                    Box::new(dense),
                    Box::new(ActivationLayer { name, activation }),
                ],
            }
        };
        check(&mut family, &reference, format!("dense.{name}"), &make);
    }
}

#[test]
fn batch_norm() {
    let reference = Reference::open("reference.safetensors");
    let mut family = Family::new("layers: batch norm", SINGLE);
    for (name, activation) in ACTIVATIONS {
        let make = move |plan: &mut PlanBuilder, parameters: &mut Parameters| {
            alone(BatchNorm::new(plan, parameters, "layer", 7, activation))
        };
        check(&mut family, &reference, format!("batch_norm.{name}"), &make);
    }
}

#[test]
fn batch_norm_in_evaluation() {
    let reference = Reference::open("reference.safetensors");
    let evaluation = Reference::open("evaluation.safetensors");
    let mut family = Family::new("layers: batch norm, evaluation", SINGLE);
    for (name, activation) in ACTIVATIONS {
        let prefix = format!("batch_norm.{name}");
        let (values, shape) = reference.tensor(&format!("{prefix}.x"));
        let mut plan = PlanBuilder::new();
        let mut parameters = Parameters::new(&mut plan);
        let norm = BatchNorm::new(&mut plan, &mut parameters, "layer", 7, activation);
        let x = plan
            .persistent("x", Element::Real, values.len())
            .matrix(shape[0], shape[1]);
        let routine = plan.begin("evaluate");
        let y = norm.forward(&mut plan, x, Mode::Evaluation).y.view;
        plan.keep(y);
        family.on_every_device(plan.finish(u64::MAX).expect("fits"), |on| {
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
        let mut plan = PlanBuilder::new();
        let clock = plan.persistent("clock", Element::Index, 2);
        let [y, target, dy] =
            ["y", "target", "dy"].map(|n| plan.persistent(n, Element::Real, elements));
        let losses = plan.persistent("losses", Element::Real, 1);
        let routine = plan.begin("loss");
        note_loss(&mut plan, loss, [y, target], clock, losses);
        plan.launch(
            "gradient",
            loss::Gradient {
                y,
                target,
                dy,
                loss,
            },
        );
        family.on_every_device(plan.finish(u64::MAX).expect("fits"), |on| {
            on.write(y, &values("y"));
            on.write(target, &values("target"));
            on.run(routine);
            on.check(&format!("{name} value"), losses, &values("value"));
            on.check(&format!("{name} dy"), dy, &values("dy"));
        });
    }
}

/// Adam's launch and the clock's, over all of a model's parameters.
fn emit_adam(plan: &mut PlanBuilder, parameters: &Parameters, schedule: View, clock: View) {
    plan.launch(
        "adam",
        Adam {
            parameters: plan.whole(parameters.values),
            gradients: plan.whole(parameters.gradients),
            mean: plan.whole(parameters.mean),
            variance: plan.whole(parameters.variance),
            schedule,
            clock,
            hyper: Hyperparameters::default(),
            ends: parameters.ends(),
        },
    );
    plan.launch("clock", Advance { clock });
}

fn schedule(steps: u64, rate: f64) -> Vec<f64> {
    let row = |t| Hyperparameters::default().schedule_row(t, rate);
    (1..=steps).flat_map(row).collect()
}

#[test]
fn adam_over_twenty_steps() {
    let reference = Reference::open("reference.safetensors");
    let gradients = reference.values("adam.gradients");
    let mut plan = PlanBuilder::new();
    let mut parameters = Parameters::new(&mut plan);
    let init = diabolo::layers::Init::Constant(0.0);
    let p = parameters.parameter(&mut plan, "p".to_owned(), 50, Layout::vector(50), init);
    let clock = plan.persistent("clock", Element::Index, 2);
    let rates = plan.persistent("schedule", Element::Real, 40);
    let routine = plan.begin("step");
    emit_adam(&mut plan, &parameters, rates, clock);
    let mut family = Family::new("adam, 20 steps", TRAINED);
    family.on_every_device(plan.finish(u64::MAX).expect("fits"), |on| {
        on.write(p.value, &reference.values("adam.p"));
        on.write(rates, &schedule(20, 1e-2));
        for gradient in gradients.chunks_exact(50) {
            on.write(p.gradient, gradient);
            on.run(routine);
        }
        on.check("p", p.value, &reference.values("adam.after"));
    });
}

/// A model's routines and what the test touches of it.
struct Model {
    parameters: Parameters,
    step: RoutineId,
    encode: RoutineId,
    clean: View,
    noisy: View,
    codes: View,
    losses: View,
    schedule: View,
}

fn model(plan: &mut PlanBuilder, shape: &Shape, batch: usize) -> Model {
    let model = Autoencoder::new(plan, shape).expect("fits");
    let clock = plan.persistent("clock", Element::Index, 2);
    let losses = plan.persistent("losses", Element::Real, 20);
    let schedule = plan.persistent("schedule", Element::Real, 40);
    let features = shape.image.features();
    let [clean, noisy] = ["clean", "noisy"].map(|name| {
        plan.persistent(name, Element::Real, batch * features)
            .matrix(batch, features)
    });
    let step = plan.begin("step");
    train_step(plan, &model, clean, noisy, clock, losses);
    emit_adam(plan, &model.parameters, schedule, clock);
    let encode = plan.begin("encode");
    let (codes, _) = model.encoder.forward(plan, clean, Mode::Evaluation);
    plan.keep(codes.view);
    Model {
        parameters: model.parameters,
        step,
        encode,
        clean: clean.view,
        noisy: noisy.view,
        codes: codes.view,
        losses,
        schedule,
    }
}

/// 12-9-7-3 and its mirror.
fn dense_shape(loss: Loss) -> Shape {
    Shape {
        image: image(1, 12, 1),
        convolutions: vec![],
        hidden: vec![9, 7],
        activation: Activation::Relu,
        code: 3,
        code_activation: Activation::Relu,
        loss,
    }
}

fn image(height: usize, width: usize, channels: usize) -> ImageShape {
    ImageShape {
        height,
        width,
        channels,
    }
}

/// Two convolutions with a pooling between them, on colour images.
fn convolutional_shape() -> Shape {
    let stage = |channels, stride, pool| Stage {
        channels,
        kernel: [3; 2],
        stride: [stride; 2],
        padding: [1; 2],
        dilation: [1; 2],
        pool,
    };
    Shape {
        image: image(12, 8, 3),
        convolutions: vec![stage(4, 1, Some(Pool::Max)), stage(5, 2, None)],
        hidden: vec![6],
        activation: Activation::Elu,
        ..dense_shape(Loss::MeanSquaredError)
    }
}

#[test]
fn whole_autoencoders_over_twenty_steps_with_the_same_noise() {
    let reference = Reference::open("reference.safetensors");
    let mut family = Family::new("models, 20 steps", TRAINED);
    for (name, shape, batch) in [
        ("mse", dense_shape(Loss::MeanSquaredError), 33),
        ("bce", dense_shape(Loss::BinaryCrossEntropy), 33),
        ("conv", convolutional_shape(), 5),
    ] {
        let values_per_batch = batch * shape.image.features();
        let prefix = format!("model.{name}");
        let values = |what: &str| reference.values(&format!("{prefix}.{what}"));
        let (clean, noisy) = (values("clean"), values("noisy"));
        let mut plan = PlanBuilder::new();
        let model = model(&mut plan, &shape, batch);
        family.on_every_device(plan.finish(u64::MAX).expect("fits"), |on| {
            for tensor in &model.parameters.tensors {
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
            on.check(&prefix, model.losses, &values("losses"));
            for tensor in &model.parameters.tensors {
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
