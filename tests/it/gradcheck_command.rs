//! `diabolo gradcheck` and `diabolo lockstep` as a user meets them.

use std::fs;

use crate::common::program::{fail, misuse, output, succeed};
use serde_json::Value;
use tempfile::tempdir;

fn rows(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("an array")
}

#[test]
fn json_has_a_row_for_each_gradient_on_each_device() {
    let folder = tempdir().expect("a folder");
    let arguments = [
        "gradcheck",
        "dense",
        "mse",
        "--shapes",
        "2",
        "--device",
        "cpu-f64,cpu-f32",
        "--json",
    ];
    let rows = rows(&succeed(folder.path(), &arguments));
    // Seven activations in two shapes: x and weight, and a bias for six of them; twice y.
    assert_eq!(rows.len(), 2 * (2 * (7 * 2 + 6) + 2));
    for row in &rows {
        let number = |key: &str| {
            row[key]
                .as_f64()
                .unwrap_or_else(|| panic!("{key} in {row}"))
        };
        assert_eq!(row["pass"], true, "{row}");
        assert!(number("max_rel_error") <= number("tolerance"));
        assert!(number("checked") >= 1.0 && number("skipped") == 0.0);
        assert!(row["layer"].is_string() && row["quantity"].is_string());
        assert!(["cpu-f64", "cpu-f32"].contains(&row["device"].as_str().expect("a name")));
        let shape = row["shape"].as_array().expect("a shape");
        let elements: f64 = shape.iter().filter_map(Value::as_f64).product();
        assert!(number("checked") <= elements);
    }
}

#[test]
fn the_table_names_layers_quantities_and_verdicts() {
    let folder = tempdir().expect("a folder");
    let text = succeed(
        folder.path(),
        &["gradcheck", "batch_norm", "--device", "cpu-f64"],
    );
    for part in [
        "batch_norm.weight",
        "batch_norm.bias",
        "cpu-f64",
        "right",
        "allowed",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let all = succeed(
        folder.path(),
        &["gradcheck", "batch_norm", "--device", "cpu-f64", "--all"],
    );
    assert!(all.lines().count() > text.lines().count());
}

#[test]
fn a_recipe_s_model_is_checked_built_in_or_from_a_file() {
    let folder = tempdir().expect("a folder");
    let text = succeed(folder.path(), &["recipes", "show", "mnist-conv"]);
    fs::write(folder.path().join("mine.toml"), text).expect("writable");
    let arguments = [
        "gradcheck",
        "--recipe",
        "mine.toml",
        "--device",
        "cpu-f64",
        "--json",
    ];
    let rows = rows(&succeed(folder.path(), &arguments));
    assert!(rows.len() > 20);
    let names = |row: &Value| row["quantity"].as_str().map(str::to_owned);
    assert!(
        rows.iter()
            .filter_map(names)
            .any(|name| name == "encoder.0.weight")
    );
}

#[test]
fn a_planted_mistake_fails_the_check_with_both_numbers() {
    let folder = tempdir().expect("a folder");
    let list = succeed(folder.path(), &["gradcheck", "--break", "list"]);
    assert!(list.contains("transposed-weight") && list.contains("stale-batch-norm-mean"));
    let arguments = [
        "gradcheck",
        "dense",
        "--break",
        "transposed-weight",
        "--device",
        "cpu-f64",
    ];
    let message = fail(folder.path(), &arguments);
    for part in ["transposed-weight", "found on cpu-f64", "d_x[", "expected"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let shown = output(folder.path(), &arguments);
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(
        shown.contains("WRONG") && shown.contains("fails: dense on cpu-f64: d_x["),
        "{shown}"
    );
    let with_json = output(folder.path(), &[&arguments[..], &["--json"]].concat());
    assert_eq!(with_json.status.code(), Some(1));
    let rows = rows(std::str::from_utf8(&with_json.stdout).expect("text"));
    assert!(rows.iter().any(|row| row["pass"] == false));
    let nowhere = [
        "gradcheck",
        "dense",
        "--break",
        "max-as-average",
        "--device",
        "cpu-f64",
    ];
    let message = misuse(folder.path(), &nowhere);
    assert!(
        message.contains("nothing that was selected has a place"),
        "{message}"
    );
}

#[test]
fn the_sweep_is_printed_and_drawn() {
    let folder = tempdir().expect("a folder");
    let arguments = ["gradcheck", "dense", "--device", "cpu-f64", "--sweep=v.svg"];
    let text = succeed(folder.path(), &arguments);
    assert!(
        text.contains("relative error of differences") && text.contains("1e-10"),
        "{text}"
    );
    let picture = fs::read_to_string(folder.path().join("v.svg")).expect("drawn");
    assert!(picture.starts_with("<svg") && picture.contains("fourth order"));
    let message = fail(folder.path(), &arguments);
    assert!(message.contains("v.svg is there already"), "{message}");
}

#[test]
fn what_there_is_not_is_an_error_that_lists_what_there_is() {
    let folder = tempdir().expect("a folder");
    for (arguments, parts) in [
        (vec!["gradcheck", "dence"], ["dence", "conv_transpose2d"]),
        (
            vec!["gradcheck", "--recipe", "mnist"],
            ["mnist`", "mnist-dense"],
        ),
        (vec!["gradcheck", "--break", "sign"], ["sign", "wrong-sign"]),
        (
            vec!["gradcheck", "dense", "--device", "no such GPU"],
            ["no such GPU", "diabolo devices"],
        ),
        (
            vec![
                "lockstep",
                "mnist-dense",
                "--devices",
                "cpu-f64,cpu-f32",
                "--steps",
                "999",
            ],
            ["999 steps", "fewer --steps"],
        ),
    ] {
        let message = fail(folder.path(), &arguments);
        for part in parts {
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
    }
}

#[test]
fn arguments_that_make_no_sense_together_are_wrong_usage() {
    let folder = tempdir().expect("a folder");
    for (arguments, part) in [
        (
            vec!["gradcheck", "dense", "--device", ""],
            "expected cpu-f64",
        ),
        (
            vec!["gradcheck", "dense", "--device", "auto"],
            "expected cpu-f64",
        ),
        (vec!["lockstep", "mnist-dense"], "--devices cpu-f64,gpu"),
        (
            vec!["lockstep", "mnist-dense", "--devices", "cpu-f64,cpu-f64"],
            "is the judge",
        ),
    ] {
        let message = misuse(folder.path(), &arguments);
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
}

#[test]
fn what_is_asked_for_twice_is_checked_once() {
    let folder = tempdir().expect("a folder");
    let device = ["--device", "cpu-f64,cpu-f64", "--json"];
    let twice = succeed(
        folder.path(),
        &[&["gradcheck", "dense", "dense"], &device[..]].concat(),
    );
    let once = succeed(
        folder.path(),
        &["gradcheck", "dense", "--device", "cpu-f64", "--json"],
    );
    assert_eq!(twice, once);
}

#[test]
fn lockstep_shows_how_two_devices_come_apart() {
    let folder = tempdir().expect("a folder");
    let devices = ["--devices", "cpu-f64,cpu-f32", "--steps", "2"];
    let arguments = [&["lockstep", "reference-dense"], &devices[..]].concat();
    let text = succeed(folder.path(), &arguments);
    for part in [
        "parameters",
        "batch_norm_statistics",
        "adam",
        "loss cpu-f64",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let report = succeed(folder.path(), &[&arguments[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&report).expect("an object");
    assert_eq!(report["divergence"], Value::Null);
    assert_eq!(report["steps"].as_array().map(Vec::len), Some(2));
    let apart = report["steps"][1]["parameters_apart"]
        .as_f64()
        .expect("a number");
    assert!(apart > 0.0 && apart < 1e-3, "{apart}");
}
