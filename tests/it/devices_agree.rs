//! The CPU and the GPU train the same model: same plan, same random numbers, nearly the same sums.

use std::sync::Arc;

use crate::common::adapter::gpu;
use crate::common::{digits, small, small_conv};
use diabolo::data::Dataset;
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::{GpuContext, GpuOptions};
use diabolo::evaluate::{FewLabel, Judge, Knn, Labels, Origin, Representation, few_label};
use diabolo::kernels::loss::Loss;
use diabolo::models::Use;
use diabolo::progress::unwatched;
use diabolo::recipe::Recipe;
use diabolo::train::{Checkpoint, Inference, Progress, Trainer};

fn cpu() -> Backend {
    Backend::Cpu(Cpu::<f32>::team(0).expect("threads"))
}

fn trainer(
    recipe: &Recipe,
    data: &Dataset,
    backend: &Backend,
    from: Option<Checkpoint>,
) -> Trainer {
    Trainer::new(recipe, &data.train, &data.test, backend, from).expect("fits")
}

/// Losses of the first twenty steps.
fn twenty_losses(recipe: &Recipe, data: &Dataset, backend: &Backend) -> Vec<f32> {
    let mut trainer = trainer(recipe, data, backend, None);
    trainer.run_steps(20).expect("runs");
    trainer.losses().expect("readable")
}

/// The worst relative difference of two runs' losses.
fn worst_difference(one: &[f32], other: &[f32]) -> f64 {
    let relative = |(a, b): (&f32, &f32)| f64::from((a - b).abs() / a);
    one.iter().zip(other).map(relative).fold(0.0, f64::max)
}

/// A recipe's images for twenty steps.
fn images_of(recipe: &Recipe) -> Dataset {
    let mut data = diabolo::data::mnist::load().expect("bundled");
    data.truncate(20 * recipe.train.batch, 500);
    data
}

#[test]
fn losses_agree_to_1e_4_over_twenty_steps() {
    let Some(context) = gpu(GpuOptions::default()) else {
        return;
    };
    let gpu = Backend::Gpu(context);
    for name in ["mnist-dense", "mnist-conv"] {
        let mut recipe = Recipe::load(name).expect("built in");
        // A software renderer takes minutes for batches of 128.
        recipe.train.batch = 32;
        let data = images_of(&recipe);
        let on_cpu = twenty_losses(&recipe, &data, &cpu());
        let on_gpu = twenty_losses(&recipe, &data, &gpu);
        let worst = worst_difference(&on_cpu, &on_gpu);
        println!("{name}, 20 steps: cpu against gpu {worst:.1e}");
        assert!(worst <= 1e-4, "{on_cpu:?} {on_gpu:?}");
    }
}

/// At a constant rate from the first step on, Adam multiplies rounding errors by some 1.5 a step:
/// after twenty even the CPU's f32 is 1e-4 away from its f64. No fixed tolerance is right for both
/// ends of that, so f64 is the judge: the GPU may be no further from it than a few times the CPU.
#[test]
fn without_a_warm_up_the_gpu_stays_as_close_to_f64_as_the_cpu_does() {
    let Some(context) = gpu(GpuOptions::default()) else {
        return;
    };
    let gpu = Backend::Gpu(context);
    let double = Backend::CpuDouble(Cpu::<f64>::team(0).expect("threads"));
    for loss in [Loss::MeanSquaredError, Loss::BinaryCrossEntropy] {
        let mut recipe = Recipe::load("reference-dense").expect("built in");
        recipe.model.autoencoder_mut().expect("one").loss = loss;
        let data = images_of(&recipe);
        let [cpu, gpu, double] =
            [&cpu(), &gpu, &double].map(|backend| twenty_losses(&recipe, &data, backend));
        let [early, late] = [8, 20].map(|steps| {
            let of = |losses: &[f32]| worst_difference(&losses[..steps], &double[..steps]);
            println!(
                "{loss:?}, {steps} steps, from f64: cpu {:.1e}, gpu {:.1e}",
                of(&cpu),
                of(&gpu)
            );
            (of(&cpu), of(&gpu))
        });
        assert!(early.1 <= 1e-5, "{gpu:?} {double:?}");
        assert!(late.1 <= 4.0 * late.0.max(1e-6), "{gpu:?} {double:?}");
    }
}

#[test]
fn the_gpu_gives_the_same_bits_twice_and_after_a_resume() {
    let Some(context) = gpu(GpuOptions::default()) else {
        return;
    };
    let gpu = Backend::Gpu(context);
    for recipe in [small(), small_conv()] {
        same_bits_twice_and_resumed(&recipe, &gpu);
    }
}

fn same_bits_twice_and_resumed(recipe: &Recipe, gpu: &Backend) {
    let data = digits();
    let trainer = |from| trainer(recipe, &data, gpu, from);
    let digest = |trainer: &mut Trainer| trainer.weights().expect("readable").sha256();
    let whole = || {
        let mut trainer = trainer(None);
        trainer.run_steps(9).expect("runs");
        digest(&mut trainer)
    };
    let expected = whole();
    assert_eq!(whole(), expected);

    let mut first = trainer(None);
    first.run_steps(4).expect("runs");
    let checkpoint = first.checkpoint().expect("readable");
    let mut second = trainer(Some(checkpoint));
    assert_eq!(
        second.progress(),
        Progress {
            epoch: 0,
            position: 4,
            step: 4
        }
    );
    second.run_steps(5).expect("runs");
    assert_eq!(digest(&mut second), expected);
}

#[test]
fn checked_and_unchecked_shaders_train_to_the_same_bits() {
    let Some(unchecked) = gpu(GpuOptions::default()) else {
        return;
    };
    let Some(checked) = gpu(GpuOptions {
        checked: true,
        ..GpuOptions::default()
    }) else {
        return;
    };
    let data = digits();
    for mut recipe in [small(), small_conv()] {
        // Ragged everywhere: 33 rows, 37 and 5 columns.
        recipe.train.batch = 33;
        recipe.model.autoencoder_mut().expect("one").hidden = vec![37];
        recipe.model.autoencoder_mut().expect("one").code = 5;
        let digest = |context: &Arc<GpuContext>| {
            let mut trainer = trainer(&recipe, &data, &Backend::Gpu(context.clone()), None);
            trainer.run_steps(5).expect("runs");
            let held_out = trainer.held_out_loss().expect("runs");
            (trainer.weights().expect("readable").sha256(), held_out)
        };
        assert_eq!(digest(&unchecked), digest(&checked));
    }
}

#[test]
fn features_and_accuracies_agree() {
    let Some(context) = gpu(GpuOptions::default()) else {
        return;
    };
    let gpu = Backend::Gpu(context);
    let (recipe, data) = (small(), digits());
    let weights = {
        let mut trainer = trainer(&recipe, &data, &cpu(), None);
        trainer.run_steps(9).expect("runs");
        trainer.weights().expect("readable")
    };
    let encode = |backend: &Backend| {
        let mut inference = Inference::new(&recipe, &weights, backend, &[]).expect("fits");
        inference
            .apply(Use::Encode, &data.test, &mut unwatched)
            .expect("runs")
    };
    let (on_cpu, on_gpu) = (encode(&cpu()), encode(&gpu));
    let largest = on_cpu.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    for (cpu, gpu) in on_cpu.iter().zip(&on_gpu) {
        // Two layers of sums of 784 and 40 products.
        assert!((cpu - gpu).abs() <= 1e-5 * largest, "{cpu} {gpu}");
    }
    let setting = FewLabel {
        labels: vec![20, 100, 600],
        draws: 5,
        sampling: recipe.evaluate.sampling,
        seed: 3,
    };
    let judge = |backend: &Backend| {
        let pixels = Representation {
            name: "pixels",
            train: &data.train,
            test: &data.test,
        };
        let (labels, origin) = (Labels::from(&data), Origin::default());
        let judges: [&dyn Judge; 1] = [&Knn];
        let tick = &mut unwatched;
        few_label(backend, &judges, &[pixels], labels, &setting, &origin, tick).expect("runs")
    };
    for (cpu, gpu) in judge(&cpu()).iter().zip(&judge(&gpu)) {
        // Pixels are the same on both; only a near tie may fall the other way.
        let one_image = 1.0 / data.test.count as f64;
        assert!(
            (cpu.value - gpu.value).abs() <= one_image,
            "{cpu:?} {gpu:?}"
        );
    }
}
