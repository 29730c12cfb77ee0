//! Every hand-written backward against central differences of its forward, in f64.
//!
//! The scalar f that is differentiated is ⟨r, y⟩ for a random r (so dy = r), or the loss. Central
//! differences D(h) at h and 2h combine to one of fourth order, D(h) + (D(h) − D(2h))/3, wrong by
//! about h⁴·f⁽⁵⁾/30 for truncation and 1e-16·|f|/h for rounding. With h = 3e-4 both lie some orders
//! below 1e-6 of the gradient, a bound that any mistake in a formula breaks.

#[path = "common/geometry.rs"]
mod geometry;

use std::sync::Arc;

use diabolo::device::cpu::Cpu;
use diabolo::device::{Device, HostData};
use diabolo::kernels::Activation;
use diabolo::kernels::loss::{self, Loss};
use diabolo::kernels::upsample::Enlargement;
use diabolo::layers::{
    ActivationLayer, AvgPool2d, BatchNorm, Conv2d, ConvTranspose2d, Dense, ImageShape, Layer,
    MaxPool2d, Mode, Parameters, Reshape, Role, Upsample2d,
};
use diabolo::models::{Autoencoder, Pool, Shape, Stage};
use diabolo::plan::{Element, Matrix, PlanBuilder, RoutineId, View};
use diabolo::train::train_step;
use geometry::geometries;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const STEP: f64 = 3e-4;
const TOLERANCE: f64 = 1e-6;
/// D(h) and D(2h) of a smooth function differ by h²·f‴/2 only; beyond this part of the largest
/// gradient there is a kink between the points.
const KINK: f64 = 1e-5;

/// A plan whose `forward` yields a scalar, and whose `backward` yields its gradients.
struct Check {
    device: Cpu<f64>,
    forward: RoutineId,
    backward: RoutineId,
    /// The scalar is ⟨projection, y⟩.
    y: View,
    projection: Vec<f64>,
    /// Name, values to perturb, gradient to compare.
    quantities: Vec<(String, View, View)>,
}

/// What a check came to.
struct Verdict {
    checked: usize,
    skipped: usize,
    worst: f64,
}

impl Check {
    fn scalar(&mut self) -> f64 {
        self.device.run(self.forward, 1).expect("runs");
        let y = self.device.reals(self.y).iter();
        y.zip(&self.projection).map(|(y, r)| y * r).sum()
    }

    /// Compares elements of every quantity; panics beyond the tolerance.
    fn run(&mut self, name: &str) -> Verdict {
        self.device.run(self.backward, 1).expect("runs");
        let analytic: Vec<Vec<f64>> = self
            .quantities
            .iter()
            .map(|&(_, _, gradient)| self.device.reals(gradient).to_vec())
            .collect();
        let mut verdict = Verdict {
            checked: 0,
            skipped: 0,
            worst: 0.0,
        };
        for (index, (quantity, values, _)) in self.quantities.clone().iter().enumerate() {
            let scale = analytic[index]
                .iter()
                .fold(0.0f64, |max, g| max.max(g.abs()));
            let every = analytic[index].len().div_ceil(MOST_CHECKED).max(1);
            for (i, &gradient) in analytic[index].iter().enumerate().step_by(every) {
                let value = self.device.reals(*values)[i];
                let mut at = |value: f64| {
                    self.device.reals_mut(*values)[i] = value;
                    self.scalar()
                };
                let mut difference = |h: f64| (at(value + h) - at(value - h)) / (2.0 * h);
                let (near, far) = (difference(STEP), difference(2.0 * STEP));
                at(value);
                if (near - far).abs() > KINK * scale {
                    verdict.skipped += 1;
                    continue;
                }
                let numeric = near + (near - far) / 3.0;
                // The floor is for gradients that are truly 0, such as β's where the next batch
                // norm takes the mean away again: there only rounding is left to compare.
                let size = gradient
                    .abs()
                    .max(numeric.abs())
                    .max(1e-2 * scale)
                    .max(1e-6);
                let error = (numeric - gradient).abs() / size;
                verdict.checked += 1;
                verdict.worst = verdict.worst.max(error);
                assert!(
                    error <= TOLERANCE,
                    "{name}: {quantity}[{i}]: {gradient} by hand, {numeric} by differences"
                );
            }
        }
        println!(
            "{name:<32} {:>5} checked, {:>3} skipped, worst {:.1e}",
            verdict.checked, verdict.skipped, verdict.worst
        );
        assert!(
            verdict.checked > 0 && verdict.skipped * 10 <= verdict.checked,
            "{name}"
        );
        verdict
    }
}

fn random(rng: &mut ChaCha8Rng, len: usize) -> Vec<f64> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Checks a layer on `[rows, cols]` inputs: its input's and its parameters' gradients.
fn check_layer(
    name: &str,
    [rows, cols]: [usize; 2],
    make: impl Fn(&mut PlanBuilder, &mut Parameters) -> Box<dyn Layer>,
) {
    let mut rng = ChaCha8Rng::seed_from_u64(rows as u64 * 1000 + cols as u64);
    let mut plan = PlanBuilder::new();
    let mut parameters = Parameters::new(&mut plan);
    let layer = make(&mut plan, &mut parameters);
    let x = plan
        .persistent("x", Element::Real, rows * cols)
        .matrix(rows, cols);

    let forward = plan.begin("forward");
    let y = layer.forward(&mut plan, x, Mode::Training).y;
    plan.keep(y.view);
    let dy = plan
        .persistent("dy", Element::Real, y.view.len)
        .matrix(y.rows, y.cols);

    let backward = plan.begin("backward");
    let saved = layer.forward(&mut plan, x, Mode::Training);
    let dx = layer
        .backward(&mut plan, &saved, dy, true)
        .expect("asked for");
    plan.keep(dx.view);

    let mut quantities = vec![("x".to_owned(), x.view, dx.view)];
    quantities.extend(gradients(&parameters));
    let plan = Arc::new(plan.finish(u64::MAX).expect("fits"));
    let mut device = Cpu::<f64>::new(plan, Cpu::<f64>::pool(1).expect("a thread"));
    for &(_, values, _) in &quantities {
        let values_there = random(&mut rng, values.len);
        device
            .write(values, HostData::Double(&values_there))
            .expect("fits");
    }
    let projection = random(&mut rng, y.view.len);
    device
        .write(dy.view, HostData::Double(&projection))
        .expect("fits");
    let mut check = Check {
        device,
        forward,
        backward,
        y: y.view,
        projection,
        quantities,
    };
    check.run(&format!("{name} [{rows}, {cols}]"));
}

fn gradients(parameters: &Parameters) -> Vec<(String, View, View)> {
    let learnt = parameters
        .tensors
        .iter()
        .filter(|t| t.role == Role::Parameter);
    learnt
        .map(|tensor| {
            let gradient = View {
                buffer: parameters.gradients,
                ..tensor.value
            };
            (tensor.name.clone(), tensor.value, gradient)
        })
        .collect()
}

const SHAPES: [[usize; 2]; 5] = [[2, 1], [3, 7], [31, 5], [33, 9], [65, 4]];

#[test]
fn dense_without_bias() {
    for [rows, cols] in SHAPES {
        check_layer("dense", [rows, cols], |plan, parameters| {
            Box::new(Dense::new(plan, parameters, "dense", [cols, 6], 1.0))
        });
    }
}

#[test]
fn dense_with_bias_and_each_activation() {
    for activation in Activation::ALL {
        for [rows, cols] in SHAPES {
            let name = format!("dense + bias + {activation:?}");
            check_layer(&name, [rows, cols], |plan, parameters| {
                let dense = Dense::new(plan, parameters, "dense", [cols, 6], 1.0);
                Box::new(dense.with_bias(plan, parameters, activation))
            });
        }
    }
}

#[test]
fn batch_norm_with_each_activation() {
    for activation in Activation::ALL {
        // With two rows x̂ is ±1 and the true gradient all but vanishes.
        for [rows, cols] in &SHAPES[1..] {
            let name = format!("batch norm + {activation:?}");
            check_layer(&name, [*rows, *cols], |plan, parameters| {
                Box::new(BatchNorm::new(plan, parameters, "norm", *cols, activation))
            });
        }
    }
}

#[test]
fn activations_alone() {
    for activation in Activation::ALL {
        for shape in SHAPES {
            let name = format!("{activation:?}");
            check_layer(&name, shape, |_, _| {
                let name = "activation".to_owned();
                Box::new(ActivationLayer { name, activation })
            });
        }
    }
}

/// At most this many elements of a large quantity are perturbed, spread evenly over it.
const MOST_CHECKED: usize = 40;

#[test]
fn convolution_and_transposed_convolution() {
    for (index, geometry) in geometries(64).into_iter().enumerate() {
        let (window, channels, maps) = (geometry.window, geometry.channels, geometry.maps);
        let [large, small] = geometry.rows();
        let activation = Activation::ALL[index % Activation::ALL.len()];
        let name = format!("conv2d {index} {activation:?}");
        check_layer(&name, [large, channels], |plan, parameters| {
            let conv = Conv2d::new(plan, parameters, "conv", window, [channels, maps], 1.0);
            Box::new(conv.with_bias(plan, parameters, activation))
        });
        let name = format!("conv_transpose2d {index} {activation:?}");
        check_layer(&name, [small, maps], |plan, parameters| {
            let channels = [maps, channels];
            let conv = ConvTranspose2d::new(plan, parameters, "conv", window, channels, 1.0);
            Box::new(conv.with_bias(plan, parameters, activation))
        });
    }
}

#[test]
fn pooling() {
    for (index, geometry) in geometries(64).into_iter().enumerate() {
        let Ok(window) = geometry.window.checked_for_pooling() else {
            continue;
        };
        let shape = [geometry.rows()[0], geometry.channels];
        check_layer(&format!("max_pool2d {index}"), shape, |_, _| {
            let name = "pool".to_owned();
            Box::new(MaxPool2d { name, window })
        });
        check_layer(&format!("avg_pool2d {index}"), shape, |_, _| {
            let name = "pool".to_owned();
            Box::new(AvgPool2d { name, window })
        });
    }
}

#[test]
fn upsampling_and_reshaping() {
    for (size, factor) in [([1, 1], [3, 2]), ([4, 5], [2, 2]), ([3, 7], [1, 4])] {
        check_layer("upsample", [2 * size[0] * size[1], 3], |_, _| {
            let enlargement = Enlargement { size, factor };
            let name = "upsample".to_owned();
            Box::new(Upsample2d { name, enlargement })
        });
    }
    for cols in [1, 3, 12] {
        check_layer("reshape", [8, 3], |_, _| {
            let name = "reshape".to_owned();
            Box::new(Reshape { name, cols })
        });
    }
}

/// A plan's clock and the one loss it notes.
fn loss_buffers(plan: &mut PlanBuilder) -> (View, View) {
    let clock = plan.persistent("clock", Element::Index, 2);
    (clock, plan.persistent("losses", Element::Real, 1))
}

#[test]
fn losses() {
    for loss in [Loss::MeanSquaredError, Loss::BinaryCrossEntropy] {
        for len in [1, 31, 33, 127, 129, loss::BLOCK + 1] {
            let mut rng = ChaCha8Rng::seed_from_u64(len as u64);
            let mut plan = PlanBuilder::new();
            let (clock, losses) = loss_buffers(&mut plan);
            let [y, target, dy] =
                ["y", "target", "dy"].map(|name| plan.persistent(name, Element::Real, len));
            let forward = plan.begin("forward");
            let partial = plan.temporary("partial", len.div_ceil(loss::BLOCK));
            let first = loss::Partial {
                y,
                target,
                partial,
                loss,
            };
            plan.launch("blocks", first);
            let last = loss::Finish {
                partial,
                elements: len,
                clock,
                losses,
            };
            plan.launch("loss", last);
            let backward = plan.begin("backward");
            plan.launch(
                "gradient",
                loss::Gradient {
                    y,
                    target,
                    dy,
                    loss,
                },
            );
            let plan = Arc::new(plan.finish(u64::MAX).expect("fits"));
            let mut device = Cpu::<f64>::new(plan, Cpu::<f64>::pool(1).expect("a thread"));
            let targets: Vec<f64> = (0..len).map(|_| rng.random_range(0.0..1.0)).collect();
            device
                .write(target, HostData::Double(&targets))
                .expect("fits");
            let outputs: Vec<f64> = (0..len).map(|_| rng.random_range(-4.0..4.0)).collect();
            device.write(y, HostData::Double(&outputs)).expect("fits");
            let mut check = Check {
                device,
                forward,
                backward,
                y: losses,
                projection: vec![1.0],
                quantities: vec![("y".to_owned(), y, dy)],
            };
            check.run(&format!("{loss:?} [{len}]"));
        }
    }
}

/// A dense model, a convolutional one, and one with pools, odd sizes and colour.
fn shapes() -> Vec<Shape> {
    let image = |height, width, channels| ImageShape {
        height,
        width,
        channels,
    };
    let stage = |channels, kernel: usize, stride: usize, pool| Stage {
        channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        dilation: [1; 2],
        pool,
    };
    let dense = Shape {
        image: image(2, 5, 1),
        convolutions: vec![],
        hidden: vec![9, 7],
        activation: Activation::Relu,
        code: 3,
        code_activation: Activation::Relu,
        loss: Loss::MeanSquaredError,
    };
    vec![
        Shape {
            code_activation: Activation::Identity,
            loss: Loss::BinaryCrossEntropy,
            ..dense.clone()
        },
        Shape {
            image: image(7, 5, 1),
            convolutions: vec![stage(3, 3, 2, None), stage(4, 3, 2, None)],
            hidden: vec![6],
            // Smooth: differences of fourth order want more than a continuous slope.
            activation: Activation::Tanh,
            ..dense.clone()
        },
        Shape {
            image: image(8, 12, 3),
            convolutions: vec![
                stage(4, 3, 1, Some(Pool::Max)),
                stage(5, 3, 1, Some(Pool::Average)),
            ],
            hidden: vec![],
            activation: Activation::Softplus,
            loss: Loss::BinaryCrossEntropy,
            ..dense.clone()
        },
        dense,
    ]
}

#[test]
fn a_whole_autoencoder() {
    for shape in shapes() {
        let (rows, features) = (12, shape.image.features());
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut plan = PlanBuilder::new();
        let model = Autoencoder::new(&mut plan, &shape).expect("fits");
        let (clock, losses) = loss_buffers(&mut plan);
        let mut input = |name| -> Matrix {
            plan.persistent(name, Element::Real, rows * features)
                .matrix(rows, features)
        };
        let (clean, noisy) = (input("clean"), input("noisy"));
        let step = plan.begin("step");
        train_step(&mut plan, &model, clean, noisy, clock, losses);

        let quantities = gradients(&model.parameters);
        let plan = Arc::new(plan.finish(u64::MAX).expect("fits"));
        let mut device = Cpu::<f64>::new(plan, Cpu::<f64>::pool(1).expect("a thread"));
        let initial = model.parameters.initial_values(1);
        for (tensor, values) in model.parameters.tensors.iter().zip(initial) {
            device
                .write(tensor.value, HostData::Real(&values))
                .expect("fits");
        }
        for matrix in [clean, noisy] {
            let values: Vec<f64> = (0..matrix.view.len)
                .map(|_| rng.random_range(0.0..1.0))
                .collect();
            device
                .write(matrix.view, HostData::Double(&values))
                .expect("fits");
        }
        let mut check = Check {
            device,
            forward: step,
            backward: step,
            y: losses,
            projection: vec![1.0],
            quantities,
        };
        check.run(&format!("autoencoder of {}, {:?}", shape.image, shape.loss));
    }
}
