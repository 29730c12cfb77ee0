//! What the commands print fits a terminal of 80 characters, and its columns are explained.

use std::process::{Command, Stdio};

fn diabolo(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diabolo"));
    command.args(arguments.split(' '));
    command
}

fn printed(arguments: &str) -> String {
    let output = diabolo(arguments).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn tables_fit_eighty_characters_and_cut_no_word() {
    for (command, words) in [
        ("recipes", &["mnist-classifier-conv", "what it does"][..]),
        ("data list", &["fashion-mnist", "28 × 28"][..]),
        ("devices", &["CPU:", "auto takes"][..]),
        (
            "gradcheck batch_norm --device cpu-f64",
            &["batch_norm.weight", "cpu-f64", "allowed    what it may be"][..],
        ),
        (
            "lockstep reference-dense --devices cpu-f64,cpu-f32 --steps 1",
            &["batch_norm_backward_partial", "of allowed   that error"][..],
        ),
        (
            "trace reference-dense --device cpu --steps 1",
            &[
                "batch_norm_backward_partial",
                "128×784×512",
                "share     part of",
            ][..],
        ),
        (
            "bench kernels --device cpu --rounds 1 --workload dense",
            &["median", "ceiling     the least"][..],
        ),
        (
            "plan reference-dense",
            &["persistent", "batch_norm_backward_partial"][..],
        ),
        (
            "recipes explain",
            &["train.schedule", "evaluate.normalise"][..],
        ),
    ] {
        let text = printed(command);
        for line in text.lines() {
            // A combining accent (x̂) takes no column of its own.
            let accent = |char: &char| ('\u{300}'..='\u{36f}').contains(char);
            let width = line.chars().filter(|char| !accent(char)).count();
            assert!(width <= 80, "{command}: {width} characters: {line}");
        }
        for word in words {
            assert!(text.contains(word), "{command}: `{word}` is not in\n{text}");
        }
    }
}

#[test]
fn quiet_says_nothing_and_verbose_says_more() {
    let said = |arguments: &str| {
        let output = diabolo(arguments).output().expect("runs");
        assert!(output.status.success());
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let command = "trace reference-dense --device cpu --steps 1";
    assert_eq!(said(&format!("{command} --quiet")), "");
    assert!(said(command).contains("device: the CPU"));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = |name: &str, option: &str| {
        let out = folder.path().join(name);
        let out = out.display();
        let run = "run reference-dense --epochs 1 --device cpu --no-evaluate";
        said(&format!("{run} --out {out}{option}"))
    };
    let (usual, verbose) = (run("usual", ""), run("verbose", " --verbose"));
    assert!(usual.contains("epoch   1/1") && !usual.contains("reconstruction:"));
    assert!(verbose.contains("reconstruction: training 0."), "{verbose}");
    assert_eq!(run("quiet", " -q"), "");
    for line in [
        "data: MNIST, 60000 training and 10000 test images of 28×28×1",
        "classes: 0 ×5923, 1 ×6742",
    ] {
        assert!(usual.contains(line), "{usual}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_of_messages_that_has_gone_away_ends_no_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let run = format!(
        "run reference-dense --epochs 1 --device cpu --no-evaluate --out {}",
        out.display()
    );
    let mut child = diabolo(&run)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // Both readers leave before the first line.
    drop(child.stderr.take());
    drop(child.stdout.take());
    assert!(child.wait().expect("ends").success());
    assert!(out.join("summary.json").is_file());
}
