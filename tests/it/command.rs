//! The command as users meet it: what it writes, what it refuses, and how it says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::program::{diabolo, fail, succeed};
use tempfile::TempDir;

const SMALL: &str = include_str!("common/small.toml");

/// A folder with a small recipe in it, changed as told.
fn folder_with(from: &str, to: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(SMALL.contains(from));
    std::fs::write(
        folder.path().join("small.toml"),
        SMALL.replacen(from, to, 1),
    )
    .expect("written");
    folder
}

fn small_folder() -> TempDir {
    folder_with("", "")
}

const RUN: [&str; 4] = ["run", "small.toml", "--device", "cpu"];

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_run_leaves_everything_it_promises() {
    let folder = small_folder();
    let summary = json(&succeed(folder.path(), &[&RUN[..], &["--json"]].concat()));
    let run = folder.path().join("runs/small-5");
    for file in [
        "recipe.toml",
        "model.safetensors",
        "checkpoint.safetensors",
        "summary.json",
    ] {
        assert!(run.join(file).is_file(), "{file}");
    }
    let saved = std::fs::read_to_string(run.join("summary.json")).expect("written");
    assert_eq!(json(&saved), summary);
    assert_eq!(summary["recipe"], "small");
    assert_eq!(summary["device"], "cpu");
    assert!(summary["adapter"].is_null());
    assert_eq!(summary["weights_sha256"].as_str().map(str::len), Some(64));
    let rows = summary["few_label"].as_array().expect("rows");
    assert_eq!(rows.len(), 3 * 2 * 2 * 2);
    for (row, representation) in rows.iter().zip(["pixels", "features"]) {
        assert_eq!(row["representation"], representation);
        assert_eq!(row["judge"], "knn-1-euclidean");
        assert_eq!((&row["labels"], &row["draws"]), (&20.into(), &4.into()));
        let mean = row["mean"].as_f64().expect("a number");
        assert!((0.1..=1.0).contains(&mean), "better than chance: {row}");
        assert!(row["sd"].as_f64().is_some());
    }
    assert!(rows[0]["gain"].is_null());
    assert_eq!(rows[1]["gain"]["ci95"].as_array().map(Vec::len), Some(2));

    // The summary is computed from the rows of the measurements.
    let mut measurements = csv::Reader::from_path(run.join("measurements.csv")).expect("written");
    let values: Vec<f64> = measurements
        .records()
        .map(|record| record.expect("a row"))
        .filter(|row| [&row[3], &row[4], &row[5]] == ["features", "knn-1-euclidean", "20"])
        .map(|row| row[7].parse().expect("a number"))
        .collect();
    assert_eq!(values.len(), 4);
    let mean = rows[1]["mean"].as_f64().expect("a number");
    assert!((values.iter().sum::<f64>() / 4.0 - mean).abs() < 1e-12);

    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).expect("written");
    assert_eq!(metrics.lines().count(), 3);
    let png = std::fs::File::open(run.join("reconstructions.png")).expect("written");
    let info = png::Decoder::new(std::io::BufReader::new(png))
        .read_info()
        .expect("a picture");
    assert!(info.info().width > 10 * 28 && info.info().height > 3 * 28);

    // `evaluate` finds the same features, `encode` gives the same numbers.
    let again = succeed(
        folder.path(),
        &["evaluate", "runs/small-5", "--device", "cpu", "--json"],
    );
    assert_eq!(json(&again), summary["few_label"]);
    let features = diabolo::data::npy::read_matrix(&run.join("features/test.npy")).expect("npy");
    assert_eq!((features.rows, features.cols), (130, 6));
    let mut images = diabolo::data::mnist::load().expect("bundled").test;
    images.truncate(130);
    let pixels = folder.path().join("images.npy");
    diabolo::data::npy::write_matrix(&pixels, 130, 784, &images.to_f32().expect("in memory"))
        .expect("written");
    let encode = [
        "encode",
        "runs/small-5",
        "--input",
        "images.npy",
        "--out",
        "codes.npy",
    ];
    succeed(folder.path(), &[&encode[..], &["--device", "cpu"]].concat());
    let codes = diabolo::data::npy::read_matrix(&folder.path().join("codes.npy")).expect("npy");
    assert_eq!(codes, features);
}

#[test]
fn a_folder_that_holds_a_run_is_refused_unless_told_otherwise() {
    let folder = folder_with("labels = [20, 50, 600]", "labels = []");
    succeed(folder.path(), &RUN);
    let sha = |text: &str| json(text)["weights_sha256"].clone();
    let summary = folder.path().join("runs/small-5/summary.json");
    let before = std::fs::read_to_string(&summary).expect("written");
    let error = fail(folder.path(), &RUN);
    assert!(
        error.contains("--resume") && error.contains("--force"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&summary).expect("kept"), before);
    let forced = succeed(folder.path(), &[&RUN[..], &["--force", "--json"]].concat());
    assert_eq!(sha(&forced), sha(&before));
    let resumed = succeed(folder.path(), &[&RUN[..], &["--resume", "--json"]].concat());
    assert_eq!(sha(&resumed), sha(&before));
    let error = fail(
        folder.path(),
        &[&RUN[..], &["--resume", "--epochs", "9"]].concat(),
    );
    assert!(
        error.contains("epochs = 3") && error.contains("epochs = 9"),
        "{error}"
    );
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .count()
}

/// Starts a run of many epochs and returns once two of them are done.
fn start(folder: &Path) -> std::process::Child {
    let mut child = diabolo(folder, &RUN)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let metrics = folder.join("runs/small-5/metrics.jsonl");
    let deadline = Instant::now() + Duration::from_secs(120);
    while lines(&metrics) < 2 {
        assert!(Instant::now() < deadline && child.try_wait().expect("known").is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

fn long_folder() -> TempDir {
    let folder = folder_with("epochs = 3", "epochs = 200");
    let path = folder.path().join("small.toml");
    let text = std::fs::read_to_string(&path).expect("written");
    std::fs::write(&path, text.replace("labels = [20, 50, 600]", "labels = []")).expect("written");
    folder
}

fn weights_after(folder: &Path, arguments: &[&str]) -> String {
    let summary = json(&succeed(
        folder,
        &[&RUN[..], arguments, &["--json"]].concat(),
    ));
    summary["weights_sha256"]
        .as_str()
        .expect("a digest")
        .to_owned()
}

#[test]
#[cfg(unix)]
fn a_run_killed_by_sigkill_and_resumed_gives_the_same_weights() {
    let whole = long_folder();
    let expected = weights_after(whole.path(), &[]);
    let killed = long_folder();
    let mut child = start(killed.path());
    child.kill().expect("SIGKILL");
    child.wait().expect("ends");
    assert!(!killed.path().join("runs/small-5/summary.json").exists());
    assert_eq!(weights_after(killed.path(), &["--resume"]), expected);
    let metrics: PathBuf = killed.path().join("runs/small-5/metrics.jsonl");
    assert_eq!(lines(&metrics), 200);
}

#[test]
#[cfg(unix)]
fn ctrl_c_saves_says_how_to_go_on_and_loses_nothing() {
    let whole = long_folder();
    let expected = weights_after(whole.path(), &["--threads", "1"]);
    let stopped = long_folder();
    let child = start(stopped.path());
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.expect("kill").success());
    let status = child.wait_with_output().expect("ends").status;
    assert_eq!(status.code(), Some(130));
    assert_eq!(weights_after(stopped.path(), &["--resume"]), expected);
}

#[test]
fn recipes_are_refused_with_file_key_value_and_what_was_expected() {
    let cases = [
        (
            "epochs = 3",
            "epochs = 0",
            ["small.toml", "train.epochs = 0", "1 to"],
        ),
        (
            "epochs = 3",
            "epoch = 3",
            ["small.toml", "epoch", "expected"],
        ),
        (
            "hidden = [40]",
            "hidden = [-40]",
            ["small.toml", "hidden = [-40]", "-40"],
        ),
        (
            "masking = 0.2",
            "masking = 1.5",
            ["small.toml", "noise.masking = 1.5", "0 ≤ p < 1"],
        ),
        (
            "code = 6",
            "code = 99999999999",
            ["small.toml", "model.code = 99999999999", "16777216"],
        ),
        ("code = 6", "code = 16000000", ["memory", "MiB", "smaller"]),
        (
            "batch = 64",
            "batch = 601",
            ["train.batch = 601", "600", "images"],
        ),
        (
            "labels = [20, 50, 600]",
            "labels = [601]",
            ["601", "600", "label"],
        ),
        (
            "name = \"mnist\"",
            "name = \"emnist\"",
            ["data.name", "emnist", "mnist"],
        ),
    ];
    for (from, to, expected) in cases {
        let folder = folder_with(from, to);
        let error = fail(folder.path(), &RUN);
        for part in expected {
            assert!(error.contains(part), "{to}: {error} lacks {part:?}");
        }
    }
    let folder = small_folder();
    let error = fail(folder.path(), &["run", "mnist-dens"]);
    assert!(
        error.contains("mnist-dens") && error.contains("mnist-dense"),
        "{error}"
    );
}

#[test]
fn images_that_cannot_be_encoded_are_refused_and_nothing_is_written() {
    let folder = folder_with("labels = [20, 50, 600]", "labels = []");
    let path = folder.path();
    succeed(path, &[&RUN[..], &["--out", "run"]].concat());
    let encode = |input: &str| {
        fail(
            path,
            &["encode", "run", "--input", input, "--out", "out.npy"],
        )
    };
    let write = |name: &str, bytes: &[u8]| std::fs::write(path.join(name), bytes).expect("written");

    let error = encode("nowhere.idx");
    assert!(error.contains("nowhere.idx"), "{error}");
    // An IDX header that claims 2⁴⁰ images.
    write(
        "huge.idx",
        &[0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 1, 0, 0, 0, 0, 28],
    );
    let error = encode("huge.idx");
    assert!(error.contains("huge.idx"), "{error}");
    let images = diabolo::data::mnist::idx_file("t10k-images-idx3-ubyte");
    let images = images.expect("undamaged").expect("one of the four");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &images).expect("in memory");
    write("cut.gz", &gzip.finish().expect("in memory")[..100_000]);
    let error = encode("cut.gz");
    assert!(
        error.contains("cut.gz") && error.contains("gzip"),
        "{error}"
    );
    // The rest are .npy files: one NaN, unscaled pixels, another size.
    let npy = |name: &str, cols: usize, value: f32| {
        let values = vec![value; 2 * cols];
        diabolo::data::npy::write_matrix(&path.join(name), 2, cols, &values).expect("written");
    };
    npy("nan.npy", 784, f32::NAN);
    assert!(encode("nan.npy").contains("NaN"));
    npy("bytes.npy", 784, 200.0);
    assert!(encode("bytes.npy").contains("255"));
    npy("wide.npy", 1024, 0.5);
    let error = encode("wide.npy");
    assert!(
        error.contains("1024") && error.contains("28×28×1"),
        "{error}"
    );
    assert!(!path.join("out.npy").exists());
}

#[test]
fn a_folder_that_is_no_run_is_refused() {
    let folder = small_folder();
    let error = fail(folder.path(), &["evaluate", "."]);
    assert!(error.contains("model.safetensors"), "{error}");
    let error = fail(folder.path(), &[&RUN[..], &["--out", "."]].concat());
    assert!(error.contains("not empty"), "{error}");
    let error = fail(
        folder.path(),
        &[&RUN[..], &["--out", "small.toml/run"]].concat(),
    );
    assert!(error.contains("small.toml/run"), "{error}");
}

/// A file system of 192 KiB, if this user may mount one.
#[cfg(target_os = "linux")]
struct FullDisk(TempDir);

#[cfg(target_os = "linux")]
impl FullDisk {
    fn mount() -> Option<FullDisk> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=192k", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        mount
            .is_ok_and(|status| status.success())
            .then_some(FullDisk(folder))
    }
}

#[cfg(target_os = "linux")]
impl Drop for FullDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_ends_a_run_with_a_clear_error() {
    let Some(disk) = FullDisk::mount() else {
        println!("skipped: this user may not mount a small file system");
        return;
    };
    let folder = small_folder();
    let out = disk.0.path().join("run");
    let out = out.to_str().expect("UTF-8");
    // A checkpoint takes some 800 KB.
    let error = fail(folder.path(), &[&RUN[..], &["--out", out]].concat());
    assert!(
        error.contains("checkpoint.safetensors") && error.contains("another folder"),
        "{error}"
    );
    let left: Vec<_> = std::fs::read_dir(out).expect("there").flatten().collect();
    assert!(
        left.iter()
            .all(|entry| !entry.path().ends_with("checkpoint.safetensors"))
    );
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_that_lists_what_is() {
    let folder = small_folder();
    let error = fail(
        folder.path(),
        &["run", "small.toml", "--device", "no such adapter"],
    );
    assert!(
        error.contains("no such adapter") && error.contains("diabolo devices"),
        "{error}"
    );
    // With no Vulkan driver at all, `auto` still works and says what it does.
    let mut auto = diabolo(folder.path(), &["run", "small.toml", "--device", "auto"]);
    let output = auto
        .env("VK_DRIVER_FILES", "/dev/null")
        .env("VK_ICD_FILENAMES", "/dev/null")
        .output();
    let output = output.expect("starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(error.contains("device: "), "{error}");
}

#[test]
fn a_run_on_a_gpu_names_its_adapter_and_repeats_its_weights() {
    let folder = small_folder();
    let devices = json(&succeed(folder.path(), &["devices", "--json"]));
    assert!(devices["cpu"]["cores"].as_u64() >= Some(1));
    let Some(adapter) = devices["adapters"].get(0) else {
        assert!(
            std::env::var_os("DIABOLO_REQUIRE_GPU").is_none(),
            "no adapter"
        );
        println!("skipped: no GPU adapter, not even a software one");
        return;
    };
    let name = adapter["name"].as_str().expect("a name");
    let run = |out: &str| {
        let arguments = [
            "run",
            "small.toml",
            "--json",
            "--out",
            out,
            "--device",
            name,
        ];
        json(&succeed(folder.path(), &arguments))
    };
    let (first, second) = (run("a"), run("b"));
    assert_eq!(
        (&first["device"], &first["adapter"]),
        (&"gpu".into(), &name.into())
    );
    assert_eq!(first["weights_sha256"], second["weights_sha256"]);
    assert_eq!(first["few_label"], second["few_label"]);
}

#[test]
fn shells_and_manuals_know_every_command() {
    let folder = small_folder();
    for shell in ["bash", "zsh", "fish"] {
        let completions = succeed(folder.path(), &["completions", shell]);
        assert!(completions.contains("gradcheck"), "{shell}");
    }
    succeed(folder.path(), &["man", "--out", "pages"]);
    let page = |name: &str| {
        let path = folder.path().join("pages").join(name);
        std::fs::read_to_string(path).expect("a page")
    };
    assert!(page("diabolo.1").contains("lockstep"));
    assert!(page("diabolo-run.1").contains("resume"));
}

#[test]
fn help_has_examples_for_every_command() {
    let folder = small_folder();
    for command in [
        "run",
        "recipes",
        "devices",
        "data",
        "encode",
        "denoise",
        "evaluate",
        "import",
        "gradcheck",
        "lockstep",
        "completions",
        "man",
    ] {
        let help = succeed(folder.path(), &[command, "--help"]);
        assert!(help.contains("Examples:"), "{command}");
    }
    assert!(succeed(folder.path(), &["--help"]).contains("Exit codes"));
    assert!(succeed(folder.path(), &["recipes"]).contains("mnist-dense"));
    let checked = succeed(
        folder.path(),
        &["recipes", "check", "mnist-vae", "small.toml"],
    );
    assert!(
        checked.contains("mnist-vae: right: vae of images of 28×28×1, "),
        "{checked}"
    );
    assert_eq!(checked.lines().count(), 2);
    let error = fail(
        folder.path(),
        &["recipes", "check", "small.toml", "mnist-dens"],
    );
    assert!(error.contains("hint: did you mean mnist-dense?"), "{error}");
    let shown = succeed(folder.path(), &["recipes", "show", "mnist-dense"]);
    assert!(shown.contains("[noise]"));
}
