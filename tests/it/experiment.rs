//! The experiment as a call of the library: with and without files, watched, stopped, gone on with.

use crate::common::watchers::StopAfter;
use crate::common::{digits, small};
use diabolo::data::Dataset;
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::experiment::{self, Finished, Outcome, Setting, Stage, Watch};
use diabolo::recipe::Recipe;
use diabolo::report::Start;
use diabolo::train::{Observer, Silent, Weights};

fn cpu() -> Backend {
    Backend::Cpu(Cpu::<f32>::team(0).expect("threads"))
}

/// A setting in which data that is in memory is used, and nothing is written.
fn with<'a>(data: &'a Dataset, backend: &'a Backend) -> Setting<'a> {
    Setting {
        data: Some(data),
        ..Setting::new(backend)
    }
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
    let setting = with(&data, &backend);
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
    let setting = with(&data, &backend);
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
        folder: Some(folder.path()),
        ..with(&data, &backend)
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
        evaluate: false,
        ..with(&data, &backend)
    };
    let mut watch = StopIn("", Vec::new());
    let trained = finished(experiment::run(&recipe, &setting, &mut watch).expect("runs"));
    assert_eq!(watch.1, ["training"]);
    assert!(trained.features.is_none() && trained.measurements.is_empty());
}

/// Trains an autoencoder, and then a classifier on its frozen encoder.
fn in_two_phases() -> Recipe {
    let text = format!(
        "{}{}",
        include_str!("common/small.toml"),
        r#"
[[phase]]
name = "pretrain"
[[phase]]
name = "classify"
[phase.model]
kind = "classifier"
hidden = [40]
code = 6
[phase.train]
epochs = 2
learn = ["head"]
"#
    );
    Recipe::parse("phases.toml", &text).expect("valid")
}

#[test]
fn phases_give_the_bits_of_runs_that_begin_with_each_other_s_models() {
    let (recipe, data, backend) = (in_two_phases(), digits(), cpu());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = |recipe: &Recipe, name: &str| {
        let path = folder.path().join(name);
        let setting = Setting {
            folder: Some(&path),
            ..with(&data, &backend)
        };
        finished(experiment::run(recipe, &setting, &mut Silent).expect("runs"))
    };
    let phased = run(&recipe, "phased");
    let phases = recipe.in_phases("phases.toml").expect("valid");
    let first = run(&phases[0], "first");
    let mut second = phases[1].clone();
    second.train.from = Some(folder.path().join("first/model.safetensors"));
    let second = run(&second, "second");
    assert_eq!(phased.summary.weights_sha256, second.summary.weights_sha256);
    assert_eq!(phased.measurements, second.measurements);
    assert!(phased.summary.test_error.is_some(), "it classifies");
    assert_eq!([phased.epochs.len(), phased.summary.epochs], [2; 2]);
    let (of_phase, _) = Weights::load(
        &folder
            .path()
            .join("phased/phases/pretrain/model.safetensors"),
    )
    .expect("kept");
    assert_eq!(of_phase.sha256(), first.weights.sha256());
}

#[test]
fn a_phase_that_cannot_begin_with_the_one_before_costs_no_training() {
    let (mut recipe, data, backend) = (in_two_phases(), digits(), cpu());
    recipe.phases[1].model.insert("code".to_owned(), 7.into());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run");
    let setting = Setting {
        folder: Some(&path),
        ..with(&data, &backend)
    };
    let mut watch = StopIn("", Vec::new());
    let error = experiment::run(&recipe, &setting, &mut watch).expect_err("code 7 after code 6");
    let message = error.to_string();
    assert!(
        message.contains("begins with the phase before") && message.contains("[6, 40]"),
        "{message}"
    );
    assert!(!path.exists() && watch.1.is_empty(), "{:?}", watch.1);
}

#[test]
fn a_run_stopped_in_any_phase_goes_on_there_to_the_same_bits() {
    let (recipe, data, backend) = (in_two_phases(), digits(), cpu());
    let setting = with(&data, &backend);
    let whole = finished(experiment::run(&recipe, &setting, &mut Silent).expect("runs"));
    for epochs in [1, recipe.train.epochs, recipe.train.epochs + 1] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let setting = Setting {
            folder: Some(folder.path()),
            ..setting
        };
        let mut watch = StopAfter(epochs);
        let outcome = experiment::run(&recipe, &setting, &mut watch).expect("stops");
        assert!(matches!(outcome, Outcome::Interrupted(_)));
        let setting = Setting {
            start: Start::Resume,
            ..setting
        };
        let resumed = finished(experiment::run(&recipe, &setting, &mut Silent).expect("runs"));
        let digest = &resumed.summary.weights_sha256;
        assert_eq!(
            *digest, whole.summary.weights_sha256,
            "after {epochs} epochs"
        );

        // Another run in its place leaves nothing of its phases.
        let mut other = recipe.clone();
        other.phases.clear();
        let setting = Setting {
            start: Start::Force,
            ..setting
        };
        experiment::run(&other, &setting, &mut Silent).expect("runs");
        assert!(
            !folder
                .path()
                .join("phases/pretrain/model.safetensors")
                .exists()
        );
    }
}
