//! The experiment as a call of the library: with and without files, watched, stopped, gone on with.

mod common;

use common::{digits, small};
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::experiment::{self, Finished, Outcome, Setting, Stage, Watch};
use diabolo::report::Start;
use diabolo::train::{Observer, Silent};

fn cpu() -> Backend {
    Backend::Cpu(Cpu::<f32>::team(0).expect("threads"))
}

fn finished(outcome: Outcome) -> Finished {
    match outcome {
        Outcome::Finished(finished) => *finished,
        Outcome::Interrupted(progress) => panic!("interrupted at {progress:?}"),
    }
}

/// Stops as soon as a stage begins, and lists the stages it saw.
struct StopIn(&'static str, Vec<&'static str>);

impl Observer for StopIn {
    fn wants_to_stop(&mut self) -> bool {
        self.1.last() == Some(&self.0)
    }
}

impl Watch for StopIn {
    fn stage(&mut self, stage: Stage) {
        self.1.push(stage.name());
    }
}

#[test]
fn an_experiment_without_a_folder_gives_everything_and_writes_nothing() {
    let (recipe, data, backend) = (small(), digits(), cpu());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let setting = Setting {
        data: Some(&data),
        ..Setting::new(&backend)
    };
    let in_memory = experiment::run(&recipe, &setting, &mut Silent).expect("runs");
    let in_memory = finished(in_memory);
    assert_eq!(in_memory.epochs.len(), recipe.train.epochs);
    let [train, test] = in_memory.features.as_ref().expect("encoded");
    assert_eq!(train.values.len() / train.width, data.train.count);
    assert_eq!(test.values.len() / test.width, data.test.count);

    // The same with a folder: the same bits, and they lie there.
    let path = folder.path().join("run");
    let setting = Setting {
        folder: Some(&path),
        ..setting
    };
    let on_disk = finished(experiment::run(&recipe, &setting, &mut Silent).expect("runs"));
    assert_eq!(on_disk.measurements, in_memory.measurements);
    assert_eq!(
        on_disk.summary.weights_sha256,
        in_memory.summary.weights_sha256
    );
    let rows = std::fs::read_to_string(path.join("measurements.csv")).expect("written");
    assert_eq!(rows.lines().count(), 1 + in_memory.measurements.len());
}

#[test]
fn an_experiment_stopped_in_any_stage_goes_on_to_the_same_results() {
    let (recipe, data, backend) = (small(), digits(), cpu());
    let setting = Setting {
        data: Some(&data),
        ..Setting::new(&backend)
    };
    let whole = finished(experiment::run(&recipe, &setting, &mut Silent).expect("runs"));
    for stage in ["training", "encoding", "denoising", "judging"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let setting = Setting {
            folder: Some(folder.path()),
            ..setting
        };
        let mut watch = StopIn(stage, Vec::new());
        let outcome = experiment::run(&recipe, &setting, &mut watch).expect("stops");
        assert!(matches!(outcome, Outcome::Interrupted(_)), "{stage}");
        assert_eq!(watch.1.last(), Some(&stage));
        assert!(!folder.path().join("summary.json").exists());

        let setting = Setting {
            start: Start::Resume,
            ..setting
        };
        let resumed = finished(experiment::run(&recipe, &setting, &mut Silent).expect("runs"));
        assert_eq!(resumed.measurements, whole.measurements, "{stage}");
        let digest = &resumed.summary.weights_sha256;
        assert_eq!(*digest, whole.summary.weights_sha256, "{stage}");
    }
}

#[test]
fn a_run_is_judged_from_other_labels_when_it_is_resumed() {
    let (mut recipe, data, backend) = (small(), digits(), cpu());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let setting = Setting {
        data: Some(&data),
        folder: Some(folder.path()),
        ..Setting::new(&backend)
    };
    let first = finished(experiment::run(&recipe, &setting, &mut Silent).expect("runs"));
    recipe.evaluate.labels = vec![30];
    let setting = Setting {
        start: Start::Resume,
        ..setting
    };
    let second = finished(experiment::run(&recipe, &setting, &mut Silent).expect("runs"));
    assert!(second.summary.few_label.iter().all(|row| row.labels == 30));
    let digest = &second.summary.weights_sha256;
    assert_eq!(*digest, first.summary.weights_sha256);
}

#[test]
fn an_experiment_that_is_not_evaluated_only_trains() {
    let (recipe, data, backend) = (small(), digits(), cpu());
    let setting = Setting {
        data: Some(&data),
        evaluate: false,
        ..Setting::new(&backend)
    };
    let mut watch = StopIn("", Vec::new());
    let trained = finished(experiment::run(&recipe, &setting, &mut watch).expect("runs"));
    assert_eq!(watch.1, ["training"]);
    assert!(trained.features.is_none() && trained.measurements.is_empty());
}
