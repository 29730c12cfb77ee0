//! What docs/determinism.md promises of whole runs, and of steps run in pieces.

use crate::common::adapter;
use std::collections::BTreeMap;
use std::path::Path;

use crate::common::program::succeed;
use crate::common::{digits, small, small_conv};
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::GpuOptions;
use diabolo::train::Trainer;
use serde_json::Value;

/// Every file of a run by its path, but for the times in two of them.
fn files(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = walkdir::WalkDir::new(run).into_iter();
    let files = files.map(|entry| entry.expect("readable"));
    let files = files.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let name = entry.path().strip_prefix(run).expect("below it");
            let name = name.to_string_lossy().into_owned();
            let bytes = std::fs::read(entry.path()).expect("readable");
            let bytes = match name.as_str() {
                "summary.json" => without_times(&bytes),
                "metrics.jsonl" => {
                    let lines = bytes.split(|&byte| byte == b'\n');
                    let lines = lines.filter(|line| !line.is_empty());
                    lines.flat_map(without_times).collect()
                }
                _ => bytes,
            };
            (name, bytes)
        })
        .collect()
}

fn without_times(json: &[u8]) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(json).expect("JSON");
    let object = value.as_object_mut().expect("an object");
    assert!(object.remove("seconds").is_some());
    object.remove("images_per_second");
    value.to_string().into_bytes()
}

#[test]
fn a_run_leaves_the_same_bytes_for_any_number_of_threads() {
    for (name, recipe) in [
        ("small", include_str!("common/small.toml")),
        ("small-conv", include_str!("common/small-conv.toml")),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("recipe.toml"), recipe).expect("written");
        let run = |threads: &str| {
            let arguments = [
                "run",
                "recipe.toml",
                "--device",
                "cpu",
                "--threads",
                threads,
            ];
            succeed(
                folder.path(),
                &[&arguments[..], &["--out", threads]].concat(),
            );
            files(&folder.path().join(threads))
        };
        let one = run("1");
        assert!(one.len() >= 8, "{:?}", one.keys());
        for threads in ["2", "3"] {
            let other = run(threads);
            assert!(one.keys().eq(other.keys()), "{:?}", other.keys());
            for (file, bytes) in &one {
                assert!(*bytes == other[file], "{name}, {threads} threads: {file}");
            }
        }
    }
}

#[test]
fn launches_one_by_one_and_many_steps_at_a_time_give_the_same_bits() {
    let mut backends = vec![Backend::Cpu(Cpu::<f32>::team(2).expect("threads"))];
    backends.extend(adapter::gpu(GpuOptions::default()).map(Backend::Gpu));
    let data = digits();
    for recipe in [small(), small_conv()] {
        for backend in &backends {
            let trainer = || Trainer::new(&recipe, &data.train, &data.test, backend, None);
            let digest = |trainer: &mut Trainer| trainer.weights().expect("readable").sha256();
            let mut at_once = trainer().expect("fits");
            at_once.run_steps(3).expect("runs");
            let mut one_by_one = trainer().expect("fits");
            let (plan, routine) = (
                one_by_one.program().plan.clone(),
                one_by_one.program().train,
            );
            for _ in 0..3 {
                for launch in 0..plan.launches(routine).len() {
                    let device = one_by_one.device();
                    device.run_launch(routine, launch).expect("runs");
                }
            }
            assert_eq!(digest(&mut at_once), digest(&mut one_by_one));
        }
    }
}
