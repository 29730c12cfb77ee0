//! Training images that do not fit the device: the same bits, window by window.

use crate::common::adapter;
use crate::common::watchers::StopAfter;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::common::{digits, small, small_conv};
use diabolo::data::{Images, Pixels, idx};
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::GpuOptions;
use diabolo::plan::PlanBuilder;
use diabolo::recipe::Recipe;
use diabolo::train::{Checkpoint, Metrics, Silent, TrainError, Trainer};

fn cpu() -> Backend {
    Backend::Cpu(Cpu::<f32>::team(2).expect("threads"))
}

/// The digits' training and test images.
fn in_memory() -> [Images; 2] {
    let data = digits();
    [data.train, data.test]
}

/// Writes bytes in memory as an IDX file, and opens it.
fn on_disk(path: &Path, images: &Images) -> Images {
    let Pixels::Bytes(bytes) = &images.pixels else {
        panic!("expected bytes in memory");
    };
    let dims = [images.count, images.height, images.width].map(|dim| dim as u32);
    let header = [0x803].into_iter().chain(dims);
    let mut file: Vec<u8> = header.flat_map(u32::to_be_bytes).collect();
    file.extend(&bytes[..]);
    fs::write(path, file).expect("written");
    let images = idx::read_images(path).expect("an IDX file");
    assert!(matches!(images.pixels, Pixels::OnDisk(_)));
    images
}

fn trainer(
    recipe: &Recipe,
    [train, held_out]: &[Images; 2],
    backend: &Backend,
    checkpoint: Option<Checkpoint>,
    window: Option<usize>,
) -> Trainer {
    let plan = PlanBuilder::new();
    Trainer::in_plan(plan, recipe, train, held_out, backend, checkpoint, window).expect("fits")
}

fn train(trainer: &mut Trainer, folder: &Path) -> Result<PathBuf, TrainError> {
    let checkpoint = folder.join("checkpoint.safetensors");
    let mut metrics = Metrics::open(&folder.join("metrics.jsonl"), trainer.progress().epoch)?;
    trainer.run(Some(&checkpoint), &mut metrics, &mut Silent)?;
    Ok(checkpoint)
}

/// What a whole run leaves: the digest of its weights, and the losses of each epoch.
type Left = (String, Vec<[f64; 2]>);

fn left(trainer: &mut Trainer) -> Left {
    let folder = tempfile::tempdir().expect("a temporary folder");
    train(trainer, folder.path()).expect("trains");
    let metrics = Metrics::read(&folder.path().join("metrics.jsonl"));
    let losses = metrics
        .iter()
        .map(|epoch| [epoch.train_loss, epoch.test_loss]);
    let weights = trainer.weights().expect("readable");
    (weights.sha256(), losses.collect())
}

#[test]
fn windows_of_any_size_from_memory_or_disk_give_the_bits_of_a_resident_data_set() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let memory = in_memory();
    let [train, test] = &memory;
    let disk = [
        on_disk(&folder.path().join("train"), train),
        on_disk(&folder.path().join("test"), test),
    ];
    // Nine steps: ragged last windows, one step at a time, more than there are.
    let windows = [
        (2, &memory),
        (4, &disk),
        (1, &disk),
        (9, &disk),
        (100, &memory),
    ];
    let check = |recipe: &Recipe, backend: &Backend, windows: &[(usize, &[Images; 2])]| {
        let mut resident = trainer(recipe, &memory, backend, None, None);
        assert!(!resident.is_streamed());
        let expected = left(&mut resident);
        for (window, images) in windows {
            let mut streamed = trainer(recipe, images, backend, None, Some(*window));
            assert_eq!(streamed.is_streamed(), *window < 9);
            let kind = backend.info().kind;
            assert_eq!(left(&mut streamed), expected, "{kind}, {window}");
        }
    };
    check(&small(), &cpu(), &windows);
    check(&small_conv(), &cpu(), &windows);
    if let Some(gpu) = adapter::gpu(GpuOptions::default()) {
        let mut recipe = small();
        recipe.train.epochs = 1;
        check(&recipe, &Backend::Gpu(gpu), &windows[..2]);
    }
}

#[test]
fn a_streamed_run_resumed_inside_a_window_by_another_window_gives_the_same_bits() {
    let (recipe, memory) = (small(), in_memory());
    let (expected, _) = left(&mut trainer(&recipe, &memory, &cpu(), None, None));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut first = trainer(&recipe, &memory, &cpu(), None, Some(4));
    first.run_steps(6).expect("runs");
    let path = folder.path().join("checkpoint.safetensors");
    let mut metrics = Metrics::open(&folder.path().join("metrics.jsonl"), 0).expect("writable");
    first
        .run(Some(&path), &mut metrics, &mut StopAfter(0))
        .expect("saves");

    let (checkpoint, _) = Checkpoint::load(&path).expect("saved");
    assert_eq!(checkpoint.progress.position, 6);
    for window in [4, 5, 9] {
        let checkpoint = Some(checkpoint.clone());
        let mut second = trainer(&recipe, &memory, &cpu(), checkpoint, Some(window));
        assert_eq!(left(&mut second).0, expected, "{window}");
    }
}

#[test]
fn a_file_cut_short_while_it_is_trained_on_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("train-images");
    let [images, held_out] = in_memory();
    let images = [on_disk(&path, &images), held_out];
    let mut trainer = trainer(&small(), &images, &cpu(), None, Some(2));
    let file = OpenOptions::new().write(true).open(&path).expect("there");
    file.set_len(10_000).expect("cut");
    let error = train(&mut trainer, folder.path()).expect_err("must fail");
    let message = error.to_string();
    assert!(
        message.contains("train-images has been cut short"),
        "{message}"
    );
}

#[test]
fn a_loss_that_is_not_finite_is_located_in_whatever_window_it_is() {
    let mut recipe = small();
    recipe.train.learning_rate = 1e38;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let messages = [None, Some(1)].map(|window| {
        let mut trainer = trainer(&recipe, &in_memory(), &cpu(), None, window);
        let error = train(&mut trainer, folder.path()).expect_err("must diverge");
        assert!(matches!(error, TrainError::NotFinite { .. }), "{error}");
        error.to_string()
    });
    assert_eq!(messages[0], messages[1]);
}
