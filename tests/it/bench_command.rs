//! `diabolo bench` as a user meets it.

use std::fs;

use crate::common::program::{fail, misuse, output, succeed};
use diabolo::data::{Images, mnist, npy};
use serde_json::Value;
use tempfile::tempdir;

/// The keys that programs may rely on, in their order.
const KEYS: [&str; 9] = [
    "workload",
    "kernel",
    "device",
    "batch",
    "median_ms",
    "min_ms",
    "gflops",
    "gbytes_per_s",
    "pct_of_ceiling",
];

/// Rows of a quick benchmark on the CPU, each checked for its keys and for numbers that make sense.
fn rows(folder: &std::path::Path, arguments: &[&str]) -> Vec<Value> {
    let common = ["--device", "cpu", "--rounds", "2", "--json"];
    let text = succeed(folder, &[&["bench"], arguments, &common].concat());
    let rows: Vec<Value> = serde_json::from_str(&text).expect("an array");
    assert!(!rows.is_empty());
    for row in &rows {
        let has = |key: &&str| row.get(key).is_some();
        assert!(KEYS.iter().all(has), "{row}");
        let number = |key: &str| {
            row[key]
                .as_f64()
                .unwrap_or_else(|| panic!("{key} in {row}"))
        };
        assert!(number("min_ms") > 0.0, "{row}");
        assert!(number("median_ms") >= number("min_ms"), "{row}");
        assert!(number("low_ms") <= number("median_ms"), "{row}");
        assert!(number("median_ms") <= number("high_ms"), "{row}");
        // A percent is of a ceiling that was measured seconds ago, on a machine with other work.
        assert!((0.0..1000.0).contains(&number("pct_of_ceiling")), "{row}");
        assert_eq!(row["device"], "cpu");
    }
    rows
}

fn column<'a>(rows: &'a [Value], key: &str) -> Vec<&'a str> {
    rows.iter().filter_map(|row| row[key].as_str()).collect()
}

#[test]
fn a_step_has_a_row_for_each_workload_and_batch() {
    let folder = tempdir().expect("a folder");
    let rows = rows(folder.path(), &["step", "--batch", "4,1,4"]);
    assert_eq!(
        column(&rows, "workload"),
        ["dense", "conv", "dense", "conv"]
    );
    assert!(rows.iter().all(|row| row["kernel"] == "step"));
    let batches: Vec<_> = rows
        .iter()
        .filter_map(|row| row["batch"].as_u64())
        .collect();
    assert_eq!(batches, [1, 1, 4, 4]);
    // Nothing of it is a GPU's.
    assert!(rows.iter().all(|row| row["dispatch_ms"].is_null()));
}

#[test]
fn kernels_are_the_launches_of_the_recipes_forward_and_both_gradients_apart() {
    let folder = tempdir().expect("a folder");
    let rows = rows(folder.path(), &["kernels", "--batch", "8"]);
    let count = |workload: &str, kernel: &str, pass: &str| {
        let same = |row: &&Value| {
            row["workload"] == workload && row["kernel"] == kernel && row["pass"] == pass
        };
        rows.iter().filter(same).count()
    };
    // Six dense layers and one more; the first needs no gradient of the images.
    assert_eq!(count("dense", "gemm", "forward"), 6);
    assert_eq!(count("dense", "gemm", "weight gradient"), 6);
    assert_eq!(count("dense", "gemm", "data gradient"), 5);
    // Two convolutions and their mirrors, whose forward is the others' data gradient.
    assert_eq!(count("conv", "conv2d", "forward"), 2);
    assert_eq!(count("conv", "conv2d_data_gradient", "forward"), 2);
    assert_eq!(count("conv", "conv2d", "data gradient"), 2);
    assert_eq!(count("conv", "conv2d_data_gradient", "data gradient"), 1);
    let kernels = column(&rows, "kernel");
    for kernel in [
        "adam",
        "gather",
        "batch_norm_apply",
        "conv2d_weight_gradient",
    ] {
        assert!(kernels.contains(&kernel), "{kernel} in {kernels:?}");
    }
}

#[test]
fn neighbours_and_the_ladder_have_rows_too() {
    let folder = tempdir().expect("a folder");
    // Enough that the search filters.
    let few = ["knn", "--queries", "30", "--references", "8500"];
    let few = [&few[..], &["--neighbours", "found.npy"]].concat();
    let found = rows(folder.path(), &few);
    assert_eq!(column(&found, "workload"), ["knn"]);
    assert_eq!(found[0]["batch"], 30);
    // Those of the sketches, 2·Q·(R + D)·64, and little more; not the whole product's 2·Q·R·D.
    let operations = found[0]["gflops"].as_f64().expect("a number")
        * found[0]["median_ms"].as_f64().expect("too");
    let sketches = 2.0 * 30.0 * (8500.0 + 784.0) * 64.0 / 1e6;
    assert!(
        (sketches..1.2 * sketches).contains(&operations),
        "{operations}"
    );
    let found = npy::read_matrix(&folder.path().join("found.npy")).expect("written");
    assert_eq!([found.rows, found.cols], [30, 5]);
    let mut data = mnist::load().expect("bundled");
    data.truncate(8500, 30);
    for (query, found) in found.values.chunks(5).enumerate() {
        let row = |images: &Images, index: usize| {
            let mut row = vec![0.0; 784];
            images.row_f32(index, &mut row).expect("in memory");
            row
        };
        let query = row(&data.test, query);
        let distance = |index: usize| -> f32 {
            let reference = row(&data.train, index);
            let pairs = query.iter().zip(&reference);
            pairs.map(|(q, r)| (q - r) * (q - r)).sum()
        };
        let mut sorted: Vec<f32> = (0..8500).map(distance).collect();
        sorted.sort_by(f32::total_cmp);
        for (&index, expected) in found.iter().zip(sorted) {
            assert!(
                (distance(index as usize) - expected).abs() <= 1e-3,
                "{index}"
            );
        }
    }

    let found = rows(folder.path(), &["ladder", "--size", "33,16"]);
    let rungs = [
        "naive",
        "coalesced",
        "tiled",
        "registers",
        "vectors",
        "in use",
    ];
    assert_eq!(column(&found, "kernel"), rungs.repeat(2));
    assert_eq!(found[0]["shapes"], "16×16×16");
    assert!(found[0]["batch"].is_null());
}

#[test]
fn csv_has_the_rows_of_json_and_a_chart_is_drawn() {
    let folder = tempdir().expect("a folder");
    let arguments = [
        "ladder",
        "--size",
        "8",
        "--csv",
        "rows.csv",
        "--out",
        "charts/new",
    ];
    let rows = rows(folder.path(), &arguments);
    let mut table = csv::Reader::from_path(folder.path().join("rows.csv")).expect("readable");
    let header = table.headers().expect("a header").clone();
    assert_eq!(header.iter().take(9).collect::<Vec<_>>(), KEYS);
    let records: Vec<csv::StringRecord> = table.records().map(|r| r.expect("whole")).collect();
    assert_eq!(records.len(), rows.len());
    for (record, row) in records.iter().zip(&rows) {
        for (key, cell) in header.iter().zip(record) {
            match &row[key] {
                Value::Null => assert_eq!(cell, "", "{key}"),
                Value::String(text) => assert_eq!(cell, text, "{key}"),
                number => {
                    let (cell, number) = (cell.parse::<f64>(), number.as_f64());
                    let (cell, number) = (cell.expect("a number"), number.expect("a number"));
                    // Reading JSON may round the last digit.
                    assert!(
                        (cell - number).abs() <= 1e-12 * number,
                        "{key}: {cell}, {number}"
                    );
                }
            }
        }
    }
    let picture = fs::read_to_string(folder.path().join("charts/new/ladder.svg")).expect("drawn");
    assert!(picture.starts_with("<svg") && picture.contains("matrix products"));
    // What is there stays, unless it is to be replaced.
    let error = fail(folder.path(), &[&["bench"], &arguments[..]].concat());
    assert!(error.contains("--force"), "{error}");
}

#[test]
fn the_table_is_put_between_its_markers_and_nowhere_else() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("text.md");
    let text = "before\n<!-- bench ladder -->\nold\n<!-- end of bench ladder -->\nafter\n";
    fs::write(&path, text).expect("writable");
    let arguments = [
        "bench", "ladder", "--size", "8", "--rounds", "1", "--device", "cpu",
    ];
    let arguments = [&arguments[..], &["--markdown", "text.md"]].concat();
    // The second time it replaces the first.
    for _ in 0..2 {
        let screen = succeed(folder.path(), &arguments);
        assert!(
            screen.contains("registers") && screen.contains("median ms"),
            "{screen}"
        );
        let text = fs::read_to_string(&path).expect("text");
        assert!(
            text.starts_with("before\n<!-- bench ladder -->\n|"),
            "{text}"
        );
        assert!(
            text.ends_with("<!-- end of bench ladder -->\nafter\n"),
            "{text}"
        );
        assert_eq!(text.matches("registers |").count(), 1, "{text}");
        assert!(!text.contains("old"));
    }
    fs::write(&path, "no place").expect("writable");
    let error = fail(folder.path(), &arguments);
    assert!(error.contains("text.md has no place"), "{error}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_timed() {
    let folder = tempdir().expect("a folder");
    let refused = |arguments: &[&str]| fail(folder.path(), &[&["bench"], arguments].concat());
    let error = refused(&["step", "--device", "abacus"]);
    assert!(
        error.contains("abacus") && error.contains("diabolo devices"),
        "{error}"
    );
    let error = refused(&["ladder", "--csv", "absent/rows.csv"]);
    assert!(error.contains("absent is no folder"), "{error}");
    fs::write(folder.path().join("file"), "").expect("writable");
    let error = refused(&["ladder", "--out", "file"]);
    assert!(error.contains("file"), "{error}");
    let error = refused(&["ladder", "--markdown", "absent.md"]);
    assert!(error.contains("absent.md"), "{error}");

    let error = refused(&["knn", "--neighbours", "absent/found.npy"]);
    assert!(error.contains("absent is no folder"), "{error}");

    let misused = |arguments: &[&str]| misuse(folder.path(), &[&["bench"], arguments].concat());
    let error = misused(&["knn", "--batch", "4"]);
    assert!(
        error.contains("--batch is for `bench kernels` and `bench step`"),
        "{error}"
    );
    let error = misused(&["kernels", "--batch", "4,8"]);
    assert!(error.contains("one --batch"), "{error}");
    for arguments in [
        ["bench", "step", "--batch", "0"],
        ["bench", "step", "--batch", "60001"],
        ["bench", "ladder", "--size", "0"],
        ["bench", "sleep", "--rounds", "1"],
    ] {
        let output = output(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
