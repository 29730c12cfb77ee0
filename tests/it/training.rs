//! What training promises: the same bits for the same seed, whatever interrupts it.

use std::path::Path;

use crate::common::watchers::StopAfter;
use crate::common::{digits, small, small_conv};
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::recipe::Recipe;
use diabolo::train::{
    Checkpoint, EpochRecord, Metrics, Observer, Outcome, Silent, TrainError, Trainer, Weights,
};

fn cpu(threads: usize) -> Backend {
    Backend::Cpu(Cpu::<f32>::team(threads).expect("threads"))
}

fn trainer(recipe: &Recipe, threads: usize, checkpoint: Option<Checkpoint>) -> Trainer {
    let data = digits();
    Trainer::new(recipe, &data.train, &data.test, &cpu(threads), checkpoint).expect("fits")
}

fn run(
    trainer: &mut Trainer,
    folder: &Path,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let mut metrics = Metrics::open(&folder.join("metrics.jsonl"), trainer.progress().epoch)?;
    let checkpoint = folder.join("checkpoint.safetensors");
    trainer.run(Some(&checkpoint), &mut metrics, observer)
}

/// Weights and metrics of a whole run.
fn whole(recipe: &Recipe, threads: usize) -> (Weights, Vec<EpochRecord>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut trainer = trainer(recipe, threads, None);
    let outcome = run(&mut trainer, folder.path(), &mut Silent).expect("trains");
    assert_eq!(outcome, Outcome::Finished);
    let metrics = Metrics::read(&folder.path().join("metrics.jsonl"));
    (trainer.weights().expect("readable"), metrics)
}

fn losses(metrics: &[EpochRecord]) -> Vec<[f64; 2]> {
    metrics
        .iter()
        .map(|record| [record.train_loss, record.test_loss])
        .collect()
}

#[test]
fn training_lowers_both_losses() {
    for recipe in [small(), small_conv()] {
        let (_, metrics) = whole(&recipe, 0);
        assert_eq!(metrics.len(), 3);
        let lower = |loss: fn(&EpochRecord) -> f64| loss(&metrics[2]) < 0.8 * loss(&metrics[0]);
        assert!(lower(|record| record.train_loss), "{metrics:?}");
        assert!(lower(|record| record.test_loss), "{metrics:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    for recipe in [small(), small_conv()] {
        let (weights, metrics) = whole(&recipe, 1);
        for threads in [1, 2, 3, 5] {
            let (again, metrics_again) = whole(&recipe, threads);
            assert_eq!(weights.sha256(), again.sha256(), "{threads} threads");
            assert_eq!(losses(&metrics), losses(&metrics_again));
        }
    }
}

#[test]
fn another_seed_gives_other_weights() {
    let mut other = small();
    other.train.seed += 1;
    assert_ne!(whole(&small(), 0).0.sha256(), whole(&other, 0).0.sha256());
}

#[test]
fn a_run_interrupted_between_epochs_and_resumed_gives_the_same_bits() {
    let recipe = small();
    let (weights, metrics) = whole(&recipe, 0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut first = trainer(&recipe, 0, None);
    let outcome = run(&mut first, folder.path(), &mut StopAfter(2)).expect("trains");
    assert!(matches!(outcome, Outcome::Interrupted(progress) if progress.epoch == 2));
    drop(first);

    let saved = folder.path().join("checkpoint.safetensors");
    let (checkpoint, of) = Checkpoint::load(&saved).expect("saved");
    assert_eq!(of, recipe);
    let mut second = trainer(&recipe, 0, Some(checkpoint));
    run(&mut second, folder.path(), &mut Silent).expect("trains");
    assert_eq!(
        second.weights().expect("readable").sha256(),
        weights.sha256()
    );
    let resumed = Metrics::read(&folder.path().join("metrics.jsonl"));
    assert_eq!(losses(&resumed), losses(&metrics));
}

#[test]
fn a_run_resumed_in_the_middle_of_an_epoch_gives_the_same_bits() {
    for recipe in [small(), small_conv()] {
        resume_in_the_middle(recipe);
    }
}

fn resume_in_the_middle(recipe: Recipe) {
    let (weights, metrics) = whole(&recipe, 0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut first = trainer(&recipe, 0, None);
    first.run_steps(4).expect("runs");
    let outcome = run(&mut first, folder.path(), &mut StopAfter(0)).expect("saves");
    assert!(matches!(outcome, Outcome::Interrupted(progress) if progress.position == 4));
    drop(first);

    let saved = folder.path().join("checkpoint.safetensors");
    let (checkpoint, _) = Checkpoint::load(&saved).expect("saved");
    let mut second = trainer(&recipe, 0, Some(checkpoint));
    run(&mut second, folder.path(), &mut Silent).expect("trains");
    assert_eq!(
        second.weights().expect("readable").sha256(),
        weights.sha256()
    );
    let resumed = Metrics::read(&folder.path().join("metrics.jsonl"));
    assert_eq!(losses(&resumed), losses(&metrics));
}

#[test]
fn a_loss_that_is_not_finite_names_the_step_and_the_first_bad_buffer() {
    let mut recipe = small();
    recipe.train.learning_rate = 1e38;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut trainer = trainer(&recipe, 0, None);
    let error = run(&mut trainer, folder.path(), &mut Silent).expect_err("must diverge");
    let TrainError::NotFinite {
        step,
        buffer,
        launch,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(*step >= 1 && !buffer.is_empty());
    assert!(launch.contains('('), "{launch} names the kernel");
    assert!(!folder.path().join("checkpoint.safetensors").exists());
}

#[test]
fn every_held_out_image_counts_once_however_they_fall_into_batches() {
    let mut recipe = small();
    // Noise belongs to a place in a batch; without it a loss belongs to an image alone.
    recipe.noise.gaussian = 0.0;
    recipe.noise.masking = 0.0;
    let data = diabolo::data::mnist::load().expect("bundled");
    let loss = |first: usize, count: usize| {
        let indices: Vec<usize> = (first..first + count).collect();
        let held_out = data.train.pick(&indices);
        let mut trainer =
            Trainer::new(&recipe, &digits().train, &held_out, &cpu(0), None).expect("fits");
        trainer.held_out_loss().expect("runs")
    };
    let parts = (500.0 * loss(0, 500) + 77.0 * loss(500, 77)) / 577.0;
    // Sums of 4,096 squares in f32: a relative error of some 1e-6 at most.
    assert!((loss(0, 577) - parts).abs() < 1e-6 * parts);
    // More than the device is given at a time.
    let parts = (8000.0 * loss(0, 8000) + 17_000.0 * loss(8000, 17_000)) / 25_000.0;
    assert!((loss(0, 25_000) - parts).abs() < 1e-6 * parts);
}

#[test]
fn a_checkpoint_of_another_shape_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    let recipe = small();
    let weights = trainer(&recipe, 0, None).weights().expect("readable");
    let mut other = recipe.clone();
    other.model.autoencoder_mut().expect("one").hidden = vec![41];
    weights.save(&path, &other, 0).expect("saved");
    let message = Weights::load(&path).expect_err("another shape").to_string();
    assert!(
        message.contains("encoder.0.weight") && message.contains("41"),
        "{message}"
    );

    std::fs::write(&path, b"not a checkpoint").expect("written");
    let message = Weights::load(&path)
        .expect_err("no safetensors")
        .to_string();
    assert!(message.contains("model.safetensors"), "{message}");
}

#[test]
fn the_same_model_makes_the_same_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let recipe = small_conv();
    let weights = trainer(&recipe, 1, None).weights().expect("readable");
    let file = |name: &str| {
        let path = folder.path().join(name);
        weights.save(&path, &recipe, 9).expect("writable");
        let (read, _) = Weights::load(&path).expect("its own file");
        assert_eq!(read, weights);
        std::fs::read(path).expect("written")
    };
    let first = file("first");
    for _ in 0..5 {
        assert_eq!(file("again"), first);
    }
}
