//! Models from PyTorch, back to PyTorch, and from here to PyTorch.
//!
//! `dense.safetensors` and `conv.safetensors` are `state_dict`s as PyTorch saved them.

use std::path::Path;
use std::process::Command;

use diabolo::data::{Images, Pixels, mnist, npy};
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::GpuOptions;
use diabolo::image::ImageShape;
use diabolo::models::{Pool, Size, Use};
use diabolo::progress::unwatched;
use diabolo::recipe::Recipe;
use diabolo::report::RunFolder;
use diabolo::train::Inference;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use tempfile::TempDir;

use super::harness::{Family, Reference, SINGLE, path};
use crate::common::adapter::gpu;
use crate::common::program::succeed;

const MODELS: [(&str, &str); 2] = [("dense", "1x12x1"), ("conv", "12x8x3")];

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A folder with a `run` of PyTorch's model in it.
fn imported(name: &str, image: &str) -> TempDir {
    let folder = temporary();
    let file = |ending: &str| path(&format!("{name}.{ending}")).display().to_string();
    let (model, recipe) = (file("safetensors"), file("toml"));
    let what = ["import", &model, "--recipe", &recipe];
    let told = succeed(
        folder.path(),
        &[&what[..], &["--image", image, "--out", "run"]].concat(),
    );
    assert!(told.contains("tensors") && told.contains("run"), "{told}");
    folder
}

#[test]
fn what_pytorch_saved_comes_back_to_the_byte() {
    for (name, image) in MODELS {
        let folder = imported(name, image);
        let read = |path: &Path| std::fs::read(path).expect("there");
        let theirs = read(&path(&format!("{name}.safetensors")));
        let ours = read(&folder.path().join("run/model.safetensors"));
        let sorted = |bytes| {
            let mut tensors = SafeTensors::deserialize(bytes).expect("whole").tensors();
            tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
            tensors
        };
        // Names, types, shapes and bytes of every tensor, the counters of the norms included.
        assert_eq!(sorted(&ours), sorted(&theirs), "{name}");
    }
}

#[test]
fn pytorch_s_models_give_its_codes_and_its_images() {
    let reference = Reference::open("evaluation.safetensors");
    let mut family = Family::new("imported models", SINGLE);
    let mut backends = vec![(
        "cpu f32",
        Backend::Cpu(Cpu::<f32>::team(2).expect("threads")),
    )];
    backends.extend(gpu(GpuOptions::default()).map(|context| ("gpu", Backend::Gpu(context))));
    for (name, image) in MODELS {
        let folder = imported(name, image);
        let run = RunFolder::existing(&folder.path().join("run"));
        let (weights, recipe) = run.load_model().expect("imported");
        let (values, shape) = reference.tensor(&format!("{name}.images"));
        let ImageShape {
            height,
            width,
            channels,
        } = weights.image;
        let images = Images {
            count: shape[0],
            height,
            width,
            channels,
            pixels: Pixels::Real(std::sync::Arc::new(
                values.iter().map(|&value| value as f32).collect(),
            )),
        };
        for (device, backend) in &backends {
            let mut inference = Inference::new(&recipe, &weights, backend, &[]).expect("fits");
            for (what, got) in [
                (
                    "codes",
                    inference.apply(Use::Encode, &images, &mut unwatched),
                ),
                (
                    "restored",
                    inference.apply(Use::Restore, &images, &mut unwatched),
                ),
            ] {
                let what = format!("{name}.{what}");
                let got: Vec<f64> = got.expect("runs").into_iter().map(f64::from).collect();
                family.compare(device, &what, &got, &reference.values(&what));
            }
        }
    }
}

/// A built-in recipe, to be trained quickly.
fn quick(name: &str) -> Recipe {
    let mut recipe = Recipe::load(name).expect("built in");
    recipe.train.epochs = 1;
    recipe.evaluate.labels = vec![];
    recipe.evaluate.noise_levels = vec![];
    recipe
}

/// Trains a recipe and lets PyTorch load its model: both must make the same of some images.
fn check_in_pytorch(python: &str, recipe: &Recipe, images: (&[usize], &[f32])) {
    let folder = temporary();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("recipe.toml"), recipe.to_toml()).expect("written");
    npy::write_array(&at("images.npy"), images.0, images.1).expect("written");
    let run = ["run", "recipe.toml", "--out", "run", "--device", "cpu"];
    succeed(folder.path(), &run);
    for (command, out) in [("encode", "codes.npy"), ("denoise", "restored.npy")] {
        let command = [command, "run", "--input", "images.npy", "--out", out];
        succeed(
            folder.path(),
            &[&command[..], &["--device", "cpu"]].concat(),
        );
    }
    let output = Command::new(python)
        .current_dir(folder.path())
        .arg(path("load_state_dict.py"))
        .args(["run", "images.npy", "codes.npy", "restored.npy"])
        .output()
        .expect("DIABOLO_PYTHON names a Python");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (told, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {told}{error}", recipe.name);
    assert_eq!(told.lines().count(), 2, "{told}{error}");
    for line in told.lines() {
        println!("{} in PyTorch: {line}", recipe.name);
    }
}

/// With `DIABOLO_PYTHON` set to a Python that has what `requirements.txt` lists.
#[test]
fn pytorch_loads_models_and_gives_the_same_codes_and_images() {
    let Ok(python) = std::env::var("DIABOLO_PYTHON") else {
        println!("skipped: DIABOLO_PYTHON names no Python that can import torch");
        return;
    };
    let mut digits = mnist::load().expect("bundled").test;
    digits.truncate(100);
    for name in ["mnist-dense", "mnist-conv"] {
        let mut recipe = quick(name);
        recipe.data.train_images = Some(2560);
        recipe.data.test_images = Some(256);
        let values = digits.to_f32().expect("in memory");
        check_in_pytorch(&python, &recipe, (&[100, 28, 28, 1], &values));
    }
    // Colour, more rows than columns, odd sizes behind the poolings of either kind.
    let mut recipe = quick("images-conv");
    recipe.data = diabolo::data::Selection {
        path: Some("images.npy".into()),
        ..diabolo::data::Selection::named("npy")
    };
    recipe.train.batch = 8;
    let convolutions = &mut recipe.model.autoencoder_mut().expect("one").convolutions;
    convolutions[0].stride = Size::Both(1);
    convolutions[0].pool = Some(Pool::Max);
    convolutions[1].stride = Size::Both(1);
    convolutions[1].pool = Some(Pool::Average);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let values: Vec<f32> = (0..90 * 28 * 20 * 3).map(|_| rng.random()).collect();
    check_in_pytorch(&python, &recipe, (&[90, 28, 20, 3], &values));
}
