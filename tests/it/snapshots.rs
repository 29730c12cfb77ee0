//! What the program says, word for word: the help of every command, errors, and tables that no machine
//! changes. The texts are kept in `tests/it/snapshots/`.
//!
//! After a change that is meant, `INSTA_UPDATE=always cargo test --release --test it snapshots::` writes them
//! anew; `git diff` shows what changed.

use std::path::Path;

use insta::assert_snapshot;

use crate::common::program::{output, succeed};

/// The names below "Commands:" in a help text.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let entries = lines.take_while(|line| !line.is_empty());
    // A line of description that goes on is indented further.
    let entries = entries.filter(|line| !line.starts_with("   "));
    let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let names = entries.filter_map(name);
    names.filter(|name| name != "help").collect()
}

#[test]
fn the_help_of_every_command_is_as_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut paths = vec![Vec::<String>::new()];
    let mut count = 0;
    while let Some(path) = paths.pop() {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = succeed(folder.path(), &arguments);
        let name = [&["help".to_owned()], &path[..]].concat().join("-");
        assert_snapshot!(name, help);
        for command in commands(&help) {
            paths.push([&path[..], &[command]].concat());
        }
        count += 1;
    }
    assert!(count > 25, "{count} commands alone were found");
}

#[test]
fn tables_that_no_machine_changes_are_as_they_were() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for command in [
        "recipes",
        "recipes explain train.batch",
        "recipes show mnist-head",
        "plan reference-dense",
        "plan reference-conv --routine train",
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let name = command.replace([' ', '.'], "-").replace("--", "");
        assert_snapshot!(name, succeed(folder.path(), &arguments));
    }
}

/// Files that are wrong, each in its own way.
fn write_wrong_files(folder: &Path) {
    let small = include_str!("common/small.toml");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    write("typo.toml", &small.replace("epochs", "epoch"));
    write("type.toml", &small.replace("batch = 64", "batch = \"64\""));
    write("range.toml", &small.replace("batch = 64", "batch = 1"));
    write("no.toml", "this is no recipe");
    write("circle.toml", "extends = \"circle.toml\"\n");
    write(
        "npy.toml",
        &small.replace("name = \"mnist\"", "name = \"npy\""),
    );
    write("damaged.safetensors", "no tensors");
    write("damaged.npy", "no array");
    std::fs::create_dir(folder.join("full")).expect("a folder");
    write("full/note.txt", "something else");
}

#[test]
fn errors_say_what_where_and_what_to_type() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    write_wrong_files(folder);
    let mut said = String::new();
    for command in [
        "run",
        "run mnist-dens",
        "run typo.toml",
        "run type.toml",
        "run range.toml",
        "run no.toml",
        "run circle.toml",
        "run npy.toml",
        "run mnist-dense --out full --device cpu",
        "run mnist-dense --out fresh --resume --device cpu",
        "run mnist-dense --epoch 3",
        "run mnist-dense --labels 70000 --device cpu",
        "run cifar10-conv --device cpu",
        "evaluate nowhere",
        "encode nowhere",
        "encode nowhere --input damaged.npy --out features.npy",
        "denoise full --input damaged.npy --out denoised.npy",
        "import damaged.safetensors --recipe mnist-dense --out imported",
        "recipes show mnist",
        "recipes check range.toml",
        "recipes explain train.epoch",
        "plan reference-dense --routine none",
        "gradcheck nothing",
        "gradcheck dense --break nothing",
        "lockstep reference-dense --devices cpu",
        "data fetch nothing",
        "data fetch npy",
        "import damaged.safetensors --recipe images-conv --out imported",
        "scaling --sizes 64",
        "bench knn --workload conv",
        "bench step --workload none",
        "completions dash",
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let output = output(folder, &arguments);
        let code = output.status.code().expect("no signal");
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(
            matches!(code, 1 | 2) && text.contains("error: "),
            "{command}: {text}"
        );
        let text = text.replace(&*folder.to_string_lossy(), "HERE");
        said += &format!("$ diabolo {command}\n{text}# exit code {code}\n\n");
    }
    assert_snapshot!("errors", said);
}

#[test]
fn no_colour_is_written_where_no_terminal_asks_for_it_or_no_color_is_set() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for arguments in [
        &["recipes", "show", "none"][..],
        &["run", "--help"],
        &["recipes"],
    ] {
        for value in [None, Some("1")] {
            let mut command = crate::common::program::diabolo(folder.path(), arguments);
            match value {
                Some(value) => command.env("NO_COLOR", value),
                None => command.env_remove("NO_COLOR"),
            };
            let output = command.output().expect("starts");
            for text in [output.stdout, output.stderr] {
                assert!(
                    !text.contains(&0x1b),
                    "{arguments:?} writes escape sequences"
                );
            }
        }
    }
}
