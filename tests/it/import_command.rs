//! `diabolo import`: what it takes, what it refuses, and how it says so.

use std::path::Path;

use crate::common::program::{fail, output, succeed};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tempfile::TempDir;

/// A model that PyTorch saved, and its recipe.
const MODEL: &[u8] = include_bytes!("pytorch/dense.safetensors");
const RECIPE: &str = include_str!("pytorch/dense.toml");

/// A tensor of a file.
#[derive(PartialEq)]
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Entry {
    fn new(name: &str, dtype: Dtype, shape: &[usize]) -> Entry {
        let bits = dtype.bitsize() * shape.iter().product::<usize>();
        Entry {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
            bytes: vec![0; bits / 8],
        }
    }
}

/// All tensors of a file, by name. (The order of its metadata is left to chance.)
fn entries(bytes: &[u8]) -> Vec<Entry> {
    let file = SafeTensors::deserialize(bytes).expect("whole");
    let entry = |(name, view): (String, TensorView)| Entry {
        name,
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    let mut entries: Vec<Entry> = file.tensors().into_iter().map(entry).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

/// PyTorch's model, changed as told.
fn changed(change: impl FnOnce(&mut Vec<Entry>)) -> Vec<u8> {
    let mut entries = entries(MODEL);
    change(&mut entries);
    let views = entries.iter().map(|entry| {
        let view = TensorView::new(entry.dtype, entry.shape.clone(), &entry.bytes);
        (entry.name.clone(), view.expect("fits"))
    });
    safetensors::serialize(views, None).expect("unique")
}

fn tensor<'a>(entries: &'a mut [Entry], name: &str) -> &'a mut Entry {
    let found = entries.iter_mut().find(|entry| entry.name == name);
    found.expect("there")
}

/// A folder with a model and its recipe in it.
fn folder_with(model: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("model.safetensors"), model).expect("written");
    std::fs::write(folder.path().join("dense.toml"), RECIPE).expect("written");
    folder
}

const IMPORT: [&str; 6] = [
    "import",
    "model.safetensors",
    "--recipe",
    "dense.toml",
    "--image",
    "1x12x1",
];
const OUT: [&str; 2] = ["--out", "run"];

fn import() -> Vec<&'static str> {
    [&IMPORT[..], &OUT].concat()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("there");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("readable").file_name().into_string())
        .collect::<Result<_, _>>()
        .expect("text");
    names.sort();
    names
}

/// The message to a file that must be refused, leaving nothing.
fn refused(model: &[u8]) -> String {
    let folder = folder_with(model);
    let error = fail(folder.path(), &import());
    assert_eq!(names(folder.path()), ["dense.toml", "model.safetensors"]);
    assert!(error.contains("model.safetensors"), "{error}");
    error
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

/// The tensors that a model's import leaves.
fn imported(model: &[u8]) -> Vec<Entry> {
    let folder = folder_with(model);
    succeed(folder.path(), &import());
    let run = folder.path().join("run");
    assert_eq!(names(&run), ["model.safetensors", "recipe.toml"]);
    entries(&std::fs::read(run.join("model.safetensors")).expect("written"))
}

#[test]
fn doubles_are_rounded_and_the_prefixes_of_wrappers_left_off() {
    let expected = imported(MODEL);
    let doubles = changed(|entries| {
        for entry in entries.iter_mut().filter(|e| e.dtype == Dtype::F32) {
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(&entry.bytes);
            // Less than half a unit in the last place more.
            let more = |&value: &f32| f64::from(value) * (1.0 + 2e-8);
            let doubles: Vec<f64> = values.iter().map(more).collect();
            entry.bytes = bytemuck::cast_slice(&doubles).to_vec();
            entry.dtype = Dtype::F64;
        }
    });
    assert!(imported(&doubles) == expected);
    for prefix in ["module.", "module._orig_mod.", "autoencoder."] {
        let wrapped = changed(|entries| {
            for entry in entries {
                entry.name.insert_str(0, prefix);
            }
        });
        assert!(imported(&wrapped) == expected, "{prefix}");
        let folder = folder_with(&wrapped);
        let told = output(folder.path(), &import()).stderr;
        assert!(String::from_utf8_lossy(&told).contains(&format!("`{prefix}`")));
    }
}

#[test]
fn counters_of_batches_may_be_absent() {
    let model = imported(&changed(|entries| {
        entries.retain(|entry| !entry.name.ends_with("num_batches_tracked"));
    }));
    assert_eq!(model.len(), entries(MODEL).len());
    let mut counters = model.iter().filter(|entry| entry.dtype == Dtype::I64);
    assert!(counters.all(|counter| counter.bytes == [0; 8]));
}

#[test]
fn another_model_is_refused_by_the_tensors_that_differ() {
    let error = refused(&changed(|entries| {
        entries.retain(|entry| entry.name != "encoder.3.weight");
        entries.push(Entry::new("classifier.weight", Dtype::F32, &[10, 3]));
        *tensor(entries, "decoder.0.weight") = Entry::new("decoder.0.weight", Dtype::F32, &[8, 3]);
    }));
    assert_has(
        &error,
        &[
            "recipe dense",
            "1×12×1",
            "it lacks `encoder.3.weight`",
            "the recipe's model has no `classifier.weight`",
            "`decoder.0.weight` is [8, 3], expected [7, 3]",
            "a recipe that has its layers",
        ],
    );
    // A long list is cut short.
    let error = refused(&changed(Vec::clear));
    assert_has(&error, &["`encoder.0.weight`", "and 23 more"]);
    // A prefix that not every name has is none.
    let error = refused(&changed(|entries| {
        tensor(entries, "encoder.0.weight")
            .name
            .insert_str(0, "module.");
    }));
    assert_has(
        &error,
        &["lacks `encoder.0.weight`", "`module.encoder.0.weight`"],
    );
    let counter = "encoder.1.num_batches_tracked";
    let error = refused(&changed(|entries| {
        *tensor(entries, counter) = Entry::new(counter, Dtype::F32, &[2]);
    }));
    assert_has(&error, &[counter, "F32 [2]", "I64 []"]);
}

#[test]
fn numbers_that_no_model_can_use_are_refused() {
    for (value, text) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let error = refused(&changed(|entries| {
            let entry = tensor(entries, "encoder.1.running_var");
            entry.bytes[8..12].copy_from_slice(&value.to_le_bytes());
        }));
        assert_has(&error, &["`encoder.1.running_var`", text, "index 2"]);
    }
    let weight = |dtype| Entry::new("encoder.0.weight", dtype, &[9, 12]);
    let error = refused(&changed(|entries| {
        let entry = tensor(entries, "encoder.0.weight");
        *entry = weight(Dtype::F64);
        entry.bytes[..8].copy_from_slice(&1e39f64.to_le_bytes());
    }));
    assert_has(&error, &["`encoder.0.weight`", "index 0", "finite in f32"]);
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::I64] {
        let error = refused(&changed(|entries| {
            *tensor(entries, "encoder.0.weight") = weight(dtype);
        }));
        let dtype = format!("{dtype:?}");
        assert_has(&error, &["`encoder.0.weight`", &dtype, "model.float()"]);
    }
}

#[test]
fn what_is_no_whole_safetensors_file_is_refused() {
    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let lying = br#"{"encoder.0.weight":{"dtype":"F32","shape":[9,12],"data_offsets":[0,432]}}"#;
    let lying = [&(lying.len() as u64).to_le_bytes()[..], lying].concat();
    let pickled = b"PK\x03\x04 what torch.save writes is a ZIP archive";
    let cut = &MODEL[..MODEL.len() - 1];
    for damaged in [&b""[..], pickled, &huge, &lying, cut, &MODEL[..100]] {
        let error = refused(damaged);
        assert_has(
            &error,
            &["no safetensors file", "safetensors.torch.save_file"],
        );
    }
    let folder = folder_with(MODEL);
    let error = fail(
        folder.path(),
        &[
            &["import", "nowhere.safetensors", "--recipe", "mnist-dense"],
            &OUT[..],
        ]
        .concat(),
    );
    assert_has(&error, &["cannot read nowhere.safetensors"]);
}

#[test]
fn a_shape_of_images_is_wanted_where_the_recipe_has_none_and_only_there() {
    let folder = folder_with(MODEL);
    let import = |recipe: &str, more: &[&str]| {
        let what = ["import", "model.safetensors", "--recipe", recipe];
        output(folder.path(), &[&what[..], &OUT, more].concat())
    };
    let message = |recipe: &str, more: &[&str]| {
        let output = import(recipe, more);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    };
    let error = message("dense.toml", &[]);
    assert_has(&error, &["recipe dense", "--image HxWxC", "\"npy\""]);
    let error = message("mnist-dense", &["--image", "32x32x3"]);
    assert_has(&error, &["--image 32×32×3", "28×28×1", "\"mnist\""]);
    // A folder of pictures that are resized has a shape too.
    let error = message("images-conv", &[]);
    assert_has(&error, &["recipe images-conv", "64×64×3"]);
    // Convolutions that do not fit.
    let conv = RECIPE.replace(
        "[model]",
        "[model]\nconvolutions = [{ channels = 4, kernel = 3, padding = 0 }]",
    );
    std::fs::write(folder.path().join("conv.toml"), conv).expect("written");
    let error = message("conv.toml", &["--image", "2x2x1"]);
    assert_has(&error, &["recipe dense", "convolution 1", "2×2×1"]);
    let error = message("mnist-dens", &[]);
    assert_has(&error, &["mnist-dens`", "mnist-dense"]);
    let wrong = import("dense.toml", &["--image", "12x"]);
    assert_eq!(wrong.status.code(), Some(2), "wrong usage");
    assert_has(&String::from_utf8_lossy(&wrong.stderr), &["12x", "28x28x1"]);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_folder_that_is_there_is_replaced_only_by_force_and_only_by_a_whole_model() {
    let folder = folder_with(MODEL);
    let at = |name: &str| folder.path().join(name);
    succeed(folder.path(), &import());
    let error = fail(folder.path(), &import());
    assert_has(&error, &["run is there already", "--force"]);

    std::fs::write(at("run/notes.txt"), "mine").expect("written");
    std::fs::write(at("run/summary.json"), "of an older run").expect("written");
    let force = [&import()[..], &["--force"]].concat();
    std::fs::write(at("model.safetensors"), &MODEL[..1000]).expect("written");
    fail(folder.path(), &force);
    let kept = names(&at("run"));
    assert!(
        kept.contains(&"summary.json".to_owned()),
        "nothing has gone"
    );

    let other = changed(|entries| {
        let name = "encoder.0.weight";
        *tensor(entries, name) = Entry::new(name, Dtype::F32, &[9, 12]);
    });
    std::fs::write(at("model.safetensors"), &other).expect("written");
    succeed(folder.path(), &force);
    let expected = ["model.safetensors", "notes.txt", "recipe.toml"];
    assert_eq!(names(&at("run")), expected);
    let mut model = entries(&std::fs::read(at("run/model.safetensors")).expect("written"));
    assert_eq!(
        tensor(&mut model, "encoder.0.weight").bytes,
        [0; 9 * 12 * 4]
    );

    // A folder of something else is never touched, nor is a file.
    std::fs::create_dir(at("thesis")).expect("made");
    std::fs::write(at("thesis/thesis.tex"), "…").expect("written");
    let import = [&IMPORT[..], &["--force", "--out"]].concat();
    let error = fail(folder.path(), &[&import[..], &["thesis"]].concat());
    assert_has(&error, &["thesis is not empty and holds no run"]);
    assert_eq!(names(&at("thesis")), ["thesis.tex"]);
    let error = fail(folder.path(), &[&import[..], &["dense.toml/run"]].concat());
    assert_has(&error, &["dense.toml/run"]);
}

#[test]
fn a_run_s_own_model_imports_and_is_the_same_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    std::fs::write(path.join("small.toml"), include_str!("common/small.toml")).expect("written");
    let cpu = ["--device", "cpu"];
    let run = ["run", "small.toml", "--out", "run", "--epochs", "1"];
    succeed(path, &[&run[..], &cpu].concat());
    let import = ["import", "run/model.safetensors", "--recipe", "small.toml"];
    succeed(path, &[&import[..], &["--out", "deep/again"]].concat());
    let read = |name: &str| std::fs::read(path.join(name)).expect("written");
    let (run, again) = (
        entries(&read("run/model.safetensors")),
        entries(&read("deep/again/model.safetensors")),
    );
    assert!(run == again);
    let evaluate = |run: &str| succeed(path, &[&["evaluate", run, "--json"], &cpu[..]].concat());
    assert_eq!(evaluate("deep/again"), evaluate("run"));
}
