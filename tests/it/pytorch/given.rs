//! The models that draw random numbers inside a step, against PyTorch: with numbers that are given to both
//! sides. In the plan, the launches that draw are replaced by the kernels of this file, which read.

use std::sync::Arc;

use diabolo::buffer::{Element, Matrix, Operand, View};
use diabolo::kernels::dropout::Dropout;
use diabolo::kernels::gaussian::Sample;
use diabolo::kernels::host::Memory;
use diabolo::kernels::{Dispatch, Kernel, linear_groups};
use diabolo::models::{ClassifierSettings, Settings, VaeSettings};
use diabolo::plan::Plan;
use diabolo::scalar::Scalar;

use super::family::labels;
use super::harness::{Family, On, Reference, TRAINED};
use super::{Model, image, model, schedule};

const STEPS: usize = 20;
const ROWS: usize = 33;
const FEATURES: usize = 12;

/// `y = x · mask`, element by element: dropout whose mask is given, 0 or 1 / (1 − p).
#[derive(Clone, Debug)]
struct GivenMask {
    x: View,
    mask: View,
    y: View,
}

impl Kernel for GivenMask {
    const NAME: &'static str = "given_mask";
    const SHADER: &'static str = "
        @group(0) @binding(0) var<uniform> len: vec4<u32>;
        @group(0) @binding(1) var<storage, read> x: array<f32>;
        @group(0) @binding(2) var<storage, read> mask: array<f32>;
        @group(0) @binding(3) var<storage, read_write> y: array<f32>;

        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            if id.x < len.x {
                y[id.x] = x[id.x] * mask[id.x];
            }
        }
    ";

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.x),
            Operand::read("mask", self.mask),
            Operand::write("y", self.y),
        ]
    }

    fn flops(&self) -> u64 {
        self.y.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([x, mask], [y]) = memory.real.access([self.x, self.mask], [self.y]);
        for (i, y) in y.iter_mut().enumerate() {
            *y = x[i] * mask[i];
        }
    }

    fn gpu(&self) -> Dispatch {
        over(self.y.len, 0)
    }
}

/// `z = μ + e^(l/2) n` with n given, which is kept for backward.
#[derive(Clone, Debug)]
struct GivenNoise {
    q: Matrix,
    given: View,
    z: Matrix,
    noise: Matrix,
}

impl Kernel for GivenNoise {
    const NAME: &'static str = "given_noise";
    const SHADER: &'static str = "
        @group(0) @binding(0) var<uniform> size: vec4<u32>; // elements of z, columns
        @group(0) @binding(1) var<storage, read> q: array<f32>;
        @group(0) @binding(2) var<storage, read> given: array<f32>;
        @group(0) @binding(3) var<storage, read_write> z: array<f32>;
        @group(0) @binding(4) var<storage, read_write> noise: array<f32>;

        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let i = id.x;
            if i < size.x {
                let at = i / size.y * 2u * size.y + i % size.y;
                z[i] = q[at] + exp(0.5 * q[at + size.y]) * given[i];
                noise[i] = given[i];
            }
        }
    ";

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("q", self.q),
            Operand::read("given", self.given),
            Operand::write("z", self.z),
            Operand::write("noise", self.noise),
        ]
    }

    fn flops(&self) -> u64 {
        4 * self.z.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let width = self.z.cols;
        let reads = [self.q.view, self.given];
        let ([q, given], [z, noise]) = memory.real.access(reads, [self.z.view, self.noise.view]);
        for i in 0..z.len() {
            let at = i / width * 2 * width + i % width;
            z[i] = q[at] + (T::of(0.5) * q[at + width]).exp() * given[i];
            noise[i] = given[i];
        }
    }

    fn gpu(&self) -> Dispatch {
        over(self.z.view.len, self.z.cols)
    }
}

fn over(len: usize, cols: usize) -> Dispatch {
    Dispatch {
        constants: vec![],
        dims: vec![len as u32, cols as u32, 0, 0],
        groups: linear_groups(len),
    }
}

/// Replaces every launch of a plan for which `replace` has another kernel. Returns how many there were.
fn replaced<K: Kernel, G: Kernel>(plan: &mut Plan, replace: impl Fn(&str, &K) -> G) -> usize {
    let mut count = 0;
    for routine in &mut plan.routines {
        for launch in &mut routine.launches {
            if let Some(kernel) = launch.kernel.downcast::<K>() {
                launch.kernel = Arc::new(replace(&launch.label.layer, kernel));
                count += 1;
            }
        }
    }
    count
}

/// Twenty steps, each of which `before` prepares; then every note and every tensor.
fn train(
    on: &mut On,
    reference: &Reference,
    name: &str,
    model: &Model,
    before: impl Fn(&mut On, usize),
) {
    let prefix = format!("model.{name}");
    let values = |what: &str| reference.values(&format!("{prefix}.{what}"));
    for tensor in &model.tensors {
        let before = format!("{prefix}.before.{}", tensor.name);
        on.write(tensor.value, &reference.stored(&before, &tensor.layout));
    }
    on.write(model.schedule, &schedule(STEPS as u64, 1e-3));
    let images = values("images");
    for (step, images) in images.chunks_exact(ROWS * FEATURES).enumerate() {
        on.write(model.clean, images);
        on.write(model.noisy, images);
        before(on, step);
        on.run(model.step);
    }
    for note in model.notes.iter().filter(|note| note.weight != 0.0) {
        on.check(&prefix, note.values, &values(&note.name));
    }
    for tensor in &model.tensors {
        let after = format!("{prefix}.after.{}", tensor.name);
        let expected = reference.stored(&after, &tensor.layout);
        on.check(&after, tensor.value, &expected);
    }
}

#[test]
fn a_variational_autoencoder_over_twenty_steps_with_given_noise() {
    const CODE: usize = 3;
    let reference = Reference::open("family.safetensors");
    let settings = Settings::Vae(VaeSettings {
        beta: 0.7,
        ..VaeSettings::new(&[9], CODE)
    });
    let (model, mut plan) = model(&settings, image(1, FEATURES, 1), ROWS, 0);
    let given = plan.persistent("given", Element::Real, ROWS * CODE);
    let mut plan = plan.finish(u64::MAX).expect("fits");
    let draws = replaced(&mut plan, |_, sample: &Sample| GivenNoise {
        q: sample.q,
        given,
        z: sample.z,
        noise: sample.noise,
    });
    assert_eq!(draws, 1);
    let noise = reference.values("model.vae.noise");
    let mut family = Family::new("variational, 20 steps", TRAINED);
    family.on_every_device(plan, |on| {
        train(on, &reference, "vae", &model, |on, step| {
            on.write(given, &noise[step * given.len..][..given.len]);
        });
    });
}

#[test]
fn a_classifier_over_twenty_steps_with_given_dropout_masks() {
    let reference = Reference::open("family.safetensors");
    let settings = Settings::Classifier(ClassifierSettings {
        dropout: 0.5,
        ..ClassifierSettings::dense(&[9, 7])
    });
    let (model, mut plan) = model(&settings, image(1, FEATURES, 1), ROWS, 4);
    let masks = [9, 7].map(|width| plan.persistent("mask", Element::Real, ROWS * width));
    let mut plan = plan.finish(u64::MAX).expect("fits");
    let draws = replaced(&mut plan, |_, dropout: &Dropout| {
        let fits = |mask: &View| mask.len == dropout.y.len;
        GivenMask {
            x: dropout.x,
            mask: masks.into_iter().find(fits).expect("either layer's"),
            y: dropout.y,
        }
    });
    assert_eq!(draws, 4, "two layers, forward and backward");
    let given = [0, 1].map(|layer| reference.values(&format!("model.dropout.mask.{layer}")));
    let of_steps = labels(&reference.values("model.dropout.labels"));
    let view = model.labels.expect("a classifier's");
    let mut family = Family::new("dropout, 20 steps", TRAINED);
    family.on_every_device(plan, |on| {
        train(on, &reference, "dropout", &model, |on, step| {
            on.write_indices(view, &of_steps[step * ROWS..][..ROWS]);
            for (mask, given) in masks.into_iter().zip(&given) {
                on.write(mask, &given[step * mask.len..][..mask.len]);
            }
        });
    });
}
