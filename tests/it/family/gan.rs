//! A generative adversarial network: two groups of parameters, each updated in a turn of its own.

use diabolo::buffer::{Element, Matrix};
use diabolo::emit::{Emission, Emitter, Gradient, Mode, Parameters};
use diabolo::gradcheck::Case;
use diabolo::kernels::Activation;
use diabolo::kernels::loss::Loss;
use diabolo::layers::{Dense, Layer, Stack};
use diabolo::objective::{Per, reconstruction};
use diabolo::plan::{Pass, PlanBuilder};

use super::{ROWS, checked, input};

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
