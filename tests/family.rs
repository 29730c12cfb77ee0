//! That the form carries more than the models of this crate: a U-Net with skip connections and a step of
//! two turns, as a GAN's, written here as a user would write them, with every gradient checked on every
//! device.

#[path = "common/adapter.rs"]
mod adapter;

use diabolo::buffer::{Element, Matrix};
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::GpuOptions;
use diabolo::emit::{Emission, Emitter, Gradient, Mode, Parameters};
use diabolo::gradcheck::{Case, Input, Named, check};
use diabolo::kernels::loss::Loss;
use diabolo::kernels::upsample::Enlargement;
use diabolo::kernels::{Activation, Window};
use diabolo::layers::{BatchNorm, Conv2d, Dense, Join, Layer, MaxPool2d, Stack, Upsample2d};
use diabolo::objective::{Per, reconstruction};
use diabolo::plan::{Pass, PlanBuilder};

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

/// A 3×3 convolution that keeps the size of its images, with batch norm and an activation.
fn block(
    plan: &mut PlanBuilder,
    parameters: &mut Parameters,
    name: &str,
    side: usize,
    channels: [usize; 2],
) -> Stack {
    let window = Window {
        size: [side; 2],
        kernel: [3; 2],
        stride: [1; 2],
        padding: [1; 2],
        dilation: [1; 2],
    };
    let mut stack = Stack::default();
    let conv = format!("{name}.conv");
    stack.push(Conv2d::new(plan, parameters, &conv, window, channels, 2.0));
    let norm = format!("{name}.norm");
    let activation = Activation::Softplus;
    stack.push(BatchNorm::new(
        plan,
        parameters,
        &norm,
        channels[1],
        activation,
    ));
    stack
}

/// A U-Net of two levels: each level's maps are read by the level below and, over a skip connection, by
/// the way back up.
struct UNet {
    down: [Stack; 2],
    pool: [MaxPool2d; 2],
    bottom: Stack,
    up: [Stack; 2],
    enlarge: [Upsample2d; 2],
    join: [Join; 2],
    last: Conv2d,
    parameters: Parameters,
}

impl UNet {
    const SIDE: usize = 8;

    fn new(plan: &mut PlanBuilder) -> UNet {
        let mut p = Parameters::new(plan);
        let sides = [UNet::SIDE, UNet::SIDE / 2];
        let halving = |side| Window {
            size: [side; 2],
            kernel: [2; 2],
            stride: [2; 2],
            padding: [0; 2],
            dilation: [1; 2],
        };
        let pointwise = Window {
            size: [UNet::SIDE; 2],
            kernel: [1; 2],
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
        };
        UNet {
            down: [
                block(plan, &mut p, "down.0", sides[0], [1, 2]),
                block(plan, &mut p, "down.1", sides[1], [2, 3]),
            ],
            pool: [0, 1].map(|level| MaxPool2d {
                name: format!("pool.{level}"),
                window: halving(sides[level]),
            }),
            bottom: block(plan, &mut p, "bottom", 2, [3, 3]),
            up: [
                block(plan, &mut p, "up.0", sides[0], [2 + 3, 2]),
                block(plan, &mut p, "up.1", sides[1], [3 + 3, 3]),
            ],
            enlarge: [0, 1].map(|level| Upsample2d {
                name: format!("enlarge.{level}"),
                enlargement: Enlargement {
                    size: [sides[level] / 2; 2],
                    factor: [2; 2],
                },
            }),
            join: [0, 1].map(|level| Join {
                name: format!("join.{level}"),
            }),
            last: Conv2d::new(plan, &mut p, "last", pointwise, [2, 1], 1.0),
            parameters: p,
        }
    }

    fn train(&self, e: &mut Emitter, x: Matrix, target: Matrix) {
        let (skip0, down0) = self.down[0].forward(e, x);
        let (h, pool0) = self.pool[0].forward(e, skip0);
        let (skip1, down1) = self.down[1].forward(e, h);
        let (h, pool1) = self.pool[1].forward(e, skip1);
        let (h, bottom) = self.bottom.forward(e, h);
        let (h, enlarge1) = self.enlarge[1].forward(e, h);
        let (h, join1) = self.join[1].forward(e, skip1, h);
        let (h, up1) = self.up[1].forward(e, h);
        let (h, enlarge0) = self.enlarge[0].forward(e, h);
        let (h, join0) = self.join[0].forward(e, skip0, h);
        let (h, up0) = self.up[0].forward(e, h);
        let (y, last) = self.last.forward(e, h);

        let dy = reconstruction(e, "loss", Loss::MeanSquaredError, Per::Element, y, target);

        let dh = self.last.backward(e, last, dy);
        let dh = self.up[0].backward(e, up0, dh);
        let [d_skip0, dh] = self.join[0].backward(e, join0, dh);
        let dh = self.enlarge[0].backward(e, enlarge0, dh);
        let dh = self.up[1].backward(e, up1, dh);
        let [d_skip1, dh] = self.join[1].backward(e, join1, dh);
        let dh = self.enlarge[1].backward(e, enlarge1, dh);
        let dh = self.bottom.backward(e, bottom, dh);
        let dh = self.pool[1].backward(e, pool1, dh).plus(e, d_skip1);
        let dh = self.down[1].backward(e, down1, dh);
        let dh = self.pool[0].backward(e, pool0, dh).plus(e, d_skip0);
        self.down[0].backward(e, down0, dh).unused();
        e.update(&self.parameters);
    }
}

#[test]
fn a_u_net_with_skip_connections_has_right_gradients() {
    let mut emission = Emission::of_gradients(PlanBuilder::new(), 0);
    let net = UNet::new(&mut emission.plan);
    let pixels = ROWS * UNet::SIDE * UNet::SIDE;
    let (x, of_x) = input(&mut emission, "noisy", pixels, 1);
    let (target, of_target) = input(&mut emission, "clean", pixels, 1);
    let inputs = vec![of_x, of_target];
    let parameters = net.parameters.clone();
    let case = Case::step(
        "u-net",
        "u-net".to_owned(),
        emission,
        &[&parameters],
        inputs,
        |e| net.train(e, x, target),
    );
    // Five blocks of a weight, γ and β, and the last weight.
    assert_eq!(checked(&case), 5 * 3 + 1);
}

/// A generator and a discriminator, each updated in a turn of its own.
struct Gan {
    generator: Stack,
    discriminator: Stack,
    of_generator: Parameters,
    of_discriminator: Parameters,
}

fn dense(
    plan: &mut PlanBuilder,
    parameters: &mut Parameters,
    name: &str,
    widths: [usize; 3],
) -> Stack {
    let mut stack = Stack::default();
    let activations = [Activation::Tanh, Activation::Identity];
    for (layer, activation) in activations.into_iter().enumerate() {
        let name = format!("{name}.{layer}");
        let widths = [widths[layer], widths[layer + 1]];
        let dense = Dense::new(plan, parameters, &name, widths, 1.0);
        stack.push(dense.with_bias(plan, parameters, activation));
    }
    stack
}

impl Gan {
    fn new(plan: &mut PlanBuilder) -> Gan {
        let mut of_generator = Parameters::named(plan, "generator");
        let mut of_discriminator = Parameters::named(plan, "discriminator");
        Gan {
            generator: dense(plan, &mut of_generator, "generator", [3, 5, 4]),
            discriminator: dense(plan, &mut of_discriminator, "discriminator", [4, 5, 1]),
            of_generator,
            of_discriminator,
        }
    }

    /// Appends how far the discriminator is from a verdict on `x`. Returns the gradient by `x`.
    fn judge(&self, e: &mut Emitter, note: &str, x: Matrix, verdict: Matrix) -> Gradient {
        let (y, saved) = self.discriminator.forward(e, x);
        let loss = Loss::BinaryCrossEntropy;
        let dy = reconstruction(e, note, loss, Per::Image, y, verdict);
        self.discriminator.backward(e, saved, dy)
    }

    fn train(&self, e: &mut Emitter, noise: Matrix, real: Matrix, verdicts: [Matrix; 2]) {
        let [yes, no] = verdicts;
        let (fake, _) = self.generator.forward(e, noise);
        // The discriminator is shared by both halves of its turn: its gradients are added.
        self.judge(e, "real", real, yes).unused();
        self.judge(e, "fake", fake, no).unused();
        e.update(&self.of_discriminator);

        let (fake, saved) = self.generator.forward(e, noise);
        let d_fake = self.judge(e, "fooled", fake, yes);
        self.generator.backward(e, saved, d_fake).unused();
        e.update(&self.of_generator);
    }
}

#[test]
fn a_step_of_two_groups_and_two_turns_has_right_gradients_and_drops_what_no_turn_reads() {
    let mut emission = Emission::of_gradients(PlanBuilder::new(), 0);
    let gan = Gan::new(&mut emission.plan);
    let (noise, of_noise) = input(&mut emission, "noise", ROWS, 3);
    let (real, of_real) = input(&mut emission, "real", ROWS, 4);
    let (yes, of_yes) = input(&mut emission, "yes", ROWS, 1);
    let (no, of_no) = input(&mut emission, "no", ROWS, 1);
    let parameters = [gan.of_generator.clone(), gan.of_discriminator.clone()];
    let case = Case::step(
        "gan",
        "gan".to_owned(),
        emission,
        &parameters.each_ref(),
        vec![of_noise, of_real, of_yes, of_no],
        |e| gan.train(e, noise, real, [yes, no]),
    );
    assert_eq!(checked(&case), 2 * 4);
}

#[test]
fn the_generator_s_turn_computes_no_weight_gradient_of_the_discriminator() {
    let mut emission = Emission::of_gradients(PlanBuilder::new(), 0);
    let gan = Gan::new(&mut emission.plan);
    let clock = emission.plan.persistent("clock", Element::Index, 2);
    let (noise, _) = input(&mut emission, "noise", ROWS, 3);
    let (real, _) = input(&mut emission, "real", ROWS, 4);
    let (yes, _) = input(&mut emission, "yes", ROWS, 1);
    let (no, _) = input(&mut emission, "no", ROWS, 1);
    let mode = Mode::Training;
    let mut e = emission.begin_step("train", mode, clock, 1);
    gan.train(&mut e, noise, real, [yes, no]);
    e.end();
    let plan = emission.plan.finish(u64::MAX).expect("fits");
    let launches = &plan.routines[0].emitted();
    let update = launches
        .iter()
        .position(|(launch, _)| launch.label.pass == Pass::Update)
        .expect("the first turn's");
    let weights = |range: std::ops::Range<usize>, layer: &str| -> Vec<bool> {
        let of_layer = launches[range].iter().filter(|(launch, _)| {
            launch.label.layer.starts_with(layer) && launch.label.part == "weight"
        });
        of_layer.map(|(_, dropped)| *dropped).collect()
    };
    // Two layers, twice in the discriminator's turn.
    assert_eq!(weights(0..update, "discriminator"), [false; 4]);
    assert_eq!(weights(update..launches.len(), "discriminator"), [true; 2]);
    assert_eq!(weights(update..launches.len(), "generator"), [false; 2]);
}
