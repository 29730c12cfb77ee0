//! Layers, losses, Adam and whole models against PyTorch's numbers.
//!
//! `generate.py` wrote them in double precision. f64 must agree to 1e-12 of a
//! tensor's largest value (both sides round some hundred times at 1e-16); f32 to 1e-5 for a layer
//! (sums of at most a hundred terms at 6e-8 each), and to 1e-4 after twenty training steps.

#[path = "../common/adapter.rs"]
mod adapter;
mod convolution;

use std::sync::Arc;

use adapter::gpu;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::{Gpu, GpuOptions};
use diabolo::device::{Device, HostData};
use diabolo::kernels::Activation;
use diabolo::kernels::adam::{Adam, Hyperparameters};
use diabolo::kernels::clock::Advance;
use diabolo::kernels::loss::{self, Loss};
use diabolo::layers::{BatchNorm, Dense, ImageShape, Layer, Layout, Mode, Parameters, Role};
use diabolo::models::{Autoencoder, Pool, Shape, Stage};
use diabolo::plan::{Element, Plan, PlanBuilder, RoutineId, View};
use diabolo::train::train_step;
use safetensors::SafeTensors;

/// The file of references.
struct Reference(Vec<u8>);

impl Reference {
    fn open(file: &str) -> Reference {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pytorch");
        let path = std::path::Path::new(folder).join(file);
        Reference(std::fs::read(path).expect("checked in"))
    }

    /// A tensor's values and shape.
    fn tensor(&self, name: &str) -> (Vec<f64>, Vec<usize>) {
        let file = SafeTensors::deserialize(&self.0).expect("well formed");
        let view = file
            .tensor(name)
            .unwrap_or_else(|_| panic!("no tensor {name}"));
        assert_eq!(view.dtype(), safetensors::Dtype::F64);
        (
            bytemuck::pod_collect_to_vec(view.data()),
            view.shape().to_vec(),
        )
    }

    fn values(&self, name: &str) -> Vec<f64> {
        self.tensor(name).0
    }

    /// A tensor in this program's layout.
    fn stored(&self, name: &str, layout: &Layout) -> Vec<f64> {
        layout.from_stored(&self.values(name))
    }
}

/// Loads a plan on each device there is and lets `check` work on it, with the tolerances for a
/// layer and for a model trained over twenty steps.
fn on_every_device(plan: Plan, check: impl Fn(&str, &mut dyn Device, [f64; 2])) {
    let plan = Arc::new(plan);
    let pool = Cpu::<f64>::pool(2).expect("threads");
    let mut double = Cpu::<f64>::new(plan.clone(), pool.clone());
    check("cpu f64", &mut double, [1e-12, 1e-11]);
    let mut single = Cpu::<f32>::new(plan.clone(), pool);
    check("cpu f32", &mut single, [1e-5, 1e-4]);
    if let Some(context) = gpu(GpuOptions::default()) {
        let mut gpu = Gpu::new(context, plan).expect("loads");
        check("gpu", &mut gpu, [1e-5, 1e-4]);
    }
}

fn read(device: &mut dyn Device, view: View) -> Vec<f64> {
    device.read_double(view).expect("readable")
}

fn write(device: &mut dyn Device, view: View, values: &[f64]) {
    device.write(view, HostData::Double(values)).expect("fits");
}

/// Panics if a tensor is off by more than a part of its largest value. Returns that part.
fn compare(what: &str, got: &[f64], expected: &[f64], tolerance: f64) -> f64 {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected
        .iter()
        .fold(f64::MIN_POSITIVE, |max, x| max.max(x.abs()));
    let errors = got
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs() / largest);
    let worst = errors.fold(0.0, f64::max);
    assert!(
        worst <= tolerance,
        "{what}: off by {worst:.1e} of the largest value, allowed {tolerance:.0e}"
    );
    worst
}

const ACTIVATIONS: [(&str, Activation); 7] = [
    ("identity", Activation::Identity),
    ("relu", Activation::Relu),
    ("leaky_relu", Activation::LeakyRelu),
    ("elu", Activation::Elu),
    ("sigmoid", Activation::Sigmoid),
    ("tanh", Activation::Tanh),
    ("softplus", Activation::Softplus),
];

type Make<'a> = dyn Fn(&mut PlanBuilder, &mut Parameters) -> Box<dyn Layer> + 'a;

/// A layer forward and backward, every gradient and every running statistic.
fn check_layer(reference: &Reference, prefix: &str, make: &Make) {
    let name = |what: &str| format!("{prefix}.{what}");
    let shape = reference.tensor(&name("x")).1;
    let mut plan = PlanBuilder::new();
    let mut parameters = Parameters::new(&mut plan);
    let layer = make(&mut plan, &mut parameters);
    let x = plan
        .persistent("x", Element::Real, shape[0] * shape[1])
        .matrix(shape[0], shape[1]);
    let dy = reference.tensor(&name("dy")).1;
    let dy = plan
        .persistent("dy", Element::Real, dy[0] * dy[1])
        .matrix(dy[0], dy[1]);
    let routine = plan.begin("both");
    let saved = layer.forward(&mut plan, x, Mode::Training);
    let dx = layer
        .backward(&mut plan, &saved, dy, true)
        .expect("asked for");
    plan.keep(saved.y.view);
    plan.keep(dx.view);
    let plan = plan.finish(u64::MAX).expect("fits");
    on_every_device(plan, |device_name, device, [tolerance, _]| {
        let of = |tensor: &str| tensor.trim_start_matches("layer.").to_owned();
        for tensor in &parameters.tensors {
            let values = reference.stored(&name(&of(&tensor.name)), &tensor.layout);
            write(device, tensor.value, &values);
        }
        write(device, x.view, &reference.values(&name("x")));
        write(device, dy.view, &reference.values(&name("dy")));
        device.run(routine, 1).expect("runs");
        let mut check = |what: String, view: View, expected: Vec<f64>| {
            let what = format!("{prefix}: {what} on {device_name}");
            let worst = compare(&what, &read(device, view), &expected, tolerance);
            println!("{what:<50} {worst:.1e}");
        };
        check("y".to_owned(), saved.y.view, reference.values(&name("y")));
        check("dx".to_owned(), dx.view, reference.values(&name("dx")));
        for tensor in &parameters.tensors {
            let what = of(&tensor.name);
            match tensor.role {
                Role::Parameter => {
                    let gradient = View {
                        buffer: parameters.gradients,
                        ..tensor.value
                    };
                    let expected = reference.stored(&name(&format!("d_{what}")), &tensor.layout);
                    check(format!("d_{what}"), gradient, expected);
                }
                Role::Running => {
                    let new = what.replace("running", "new");
                    check(what, tensor.value, reference.values(&name(&new)));
                }
            }
        }
    });
}

#[test]
fn dense() {
    let reference = Reference::open("reference.safetensors");
    for (name, activation) in ACTIVATIONS {
        check_layer(
            &reference,
            &format!("dense.{name}"),
            &move |plan, parameters| {
                let dense = Dense::new(plan, parameters, "layer", [9, 5], 1.0);
                Box::new(dense.with_bias(plan, parameters, activation))
            },
        );
    }
}

#[test]
fn batch_norm() {
    let reference = Reference::open("reference.safetensors");
    for (name, activation) in ACTIVATIONS {
        check_layer(
            &reference,
            &format!("batch_norm.{name}"),
            &move |plan, parameters| {
                Box::new(BatchNorm::new(plan, parameters, "layer", 7, activation))
            },
        );
    }
}

#[test]
fn losses() {
    let reference = Reference::open("reference.safetensors");
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
        let partial = plan.persistent("partial", Element::Real, elements.div_ceil(loss::BLOCK));
        let losses = plan.persistent("losses", Element::Real, 1);
        let routine = plan.begin("loss");
        plan.launch(
            "blocks",
            loss::Partial {
                y,
                target,
                partial,
                loss,
            },
        );
        plan.launch(
            "loss",
            loss::Finish {
                partial,
                elements,
                clock,
                losses,
            },
        );
        plan.launch(
            "gradient",
            loss::Gradient {
                y,
                target,
                dy,
                loss,
            },
        );
        on_every_device(
            plan.finish(u64::MAX).expect("fits"),
            |device_name, device, [tolerance, _]| {
                write(device, y, &values("y"));
                write(device, target, &values("target"));
                device.run(routine, 1).expect("runs");
                for (what, view) in [("value", losses), ("dy", dy)] {
                    let label = format!("{name} {what} on {device_name}");
                    compare(&label, &read(device, view), &values(what), tolerance);
                }
            },
        );
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
    on_every_device(
        plan.finish(u64::MAX).expect("fits"),
        |name, device, [_, tolerance]| {
            write(device, p.value, &reference.values("adam.p"));
            write(device, rates, &schedule(20, 1e-2));
            for gradient in gradients.chunks_exact(50) {
                write(device, p.gradient, gradient);
                device.run(routine, 1).expect("runs");
            }
            let label = format!("adam on {name}");
            compare(
                &label,
                &read(device, p.value),
                &reference.values("adam.after"),
                tolerance,
            );
        },
    );
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
        on_every_device(
            plan.finish(u64::MAX).expect("fits"),
            |device_name, device, [_, tolerance]| {
                for tensor in &model.parameters.tensors {
                    let before = format!("{prefix}.before.{}", tensor.name);
                    write(
                        device,
                        tensor.value,
                        &reference.stored(&before, &tensor.layout),
                    );
                }
                write(device, model.schedule, &schedule(20, 1e-3));
                for (clean, noisy) in clean
                    .chunks_exact(values_per_batch)
                    .zip(noisy.chunks_exact(values_per_batch))
                {
                    write(device, model.clean, clean);
                    write(device, model.noisy, noisy);
                    device.run(model.step, 1).expect("runs");
                }
                let losses = read(device, model.losses);
                let mut worst = compare("losses", &losses, &values("losses"), tolerance);
                for tensor in &model.parameters.tensors {
                    let label = format!("{prefix}.after.{}", tensor.name);
                    let expected = reference.stored(&label, &tensor.layout);
                    let got = read(device, tensor.value);
                    let label = format!("{label} on {device_name}");
                    worst = worst.max(compare(&label, &got, &expected, tolerance));
                }
                write(device, model.clean, &clean[..values_per_batch]);
                device.run(model.encode, 1).expect("runs");
                let label = format!("{prefix}.codes on {device_name}");
                worst = worst.max(compare(
                    &label,
                    &read(device, model.codes),
                    &values("codes"),
                    tolerance,
                ));
                println!("{prefix} on {device_name}: worst {worst:.1e}");
            },
        );
    }
}
