//! `diabolo scaling`, and what it measures.

use crate::common::adapter;
use std::time::Duration;

use crate::common::program::{fail, misuse, succeed};
use diabolo::bench::scaling::{Axis, Series, measure, points};
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::GpuOptions;
use serde_json::Value;

fn cpu() -> Backend {
    Backend::Cpu(Cpu::<f32>::team(2).expect("threads"))
}

fn measured(axis: Axis, sizes: &[usize], backend: &Backend) -> Vec<Series> {
    let mut done = 0;
    let budget = Duration::from_millis(5);
    let series = measure(axis, sizes, backend, budget, |now| done = now).expect("measures");
    assert_eq!(done, points(axis, sizes.len()));
    for point in series.iter().flat_map(|series| &series.points) {
        assert!(point.runs > 0 && point.note.is_none(), "{point:?}");
        assert!(point.min_ms <= point.median_ms && point.min_ms > Some(0.0));
    }
    series
}

#[test]
fn every_axis_is_measured_on_every_device() {
    let gpu = adapter::gpu(GpuOptions::default()).map(Backend::Gpu);
    for backend in [cpu()].into_iter().chain(gpu) {
        measured(Axis::Batch, &[1, 4], &backend);
        measured(Axis::Width, &[8, 16], &backend);
        measured(Axis::Data, &[100, 2000], &backend);
        measured(Axis::References, &[40, 400], &backend);
    }
    measured(Axis::Labels, &[10, 20], &cpu());
}

#[test]
fn planned_memory_grows_with_the_square_of_the_width_and_linearly_with_references() {
    let memory = |axis, sizes: &[usize]| {
        let series = measured(axis, sizes, &cpu()).remove(0);
        series.memory.expect("two points").upper.exponent
    };
    let width = memory(Axis::Width, &[512, 2048]);
    assert!((1.4..2.0).contains(&width), "{width}");
    let references = memory(Axis::References, &[2000, 8000]);
    assert!((0.95..1.05).contains(&references), "{references}");
}

#[test]
fn a_size_that_does_not_fit_is_told_and_the_others_are_measured() {
    // 2 · 2²² · 2²² weights are more than any machine has.
    let budget = Duration::from_millis(1);
    let sizes = [8, 1 << 22];
    let series = measure(Axis::Width, &sizes, &cpu(), budget, |_| ()).expect("goes on");
    let [fits, does_not] = &series[0].points[..] else {
        panic!("two points");
    };
    assert!(fits.median_ms.is_some() && fits.note.is_none());
    assert!(does_not.median_ms.is_none());
    let note = does_not.note.as_deref().expect("a reason");
    assert!(note.contains("MiB are available"), "{note}");
}

#[test]
fn the_command_prints_json_and_draws_charts_that_name_the_exponent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = [
        "scaling", "--axis", "data", "--sizes", "200,800", "--device", "cpu", "--charts", ".",
    ];
    let text = succeed(folder.path(), &arguments);
    for part in [
        "epoch over training images, in windows",
        "time grows as data^",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let chart = std::fs::read_to_string(folder.path().join("scaling-data.svg")).expect("drawn");
    assert!(chart.contains("all on the device size^") && chart.contains("in windows size^"));
    assert!(fail(folder.path(), &arguments).contains("--force"));

    let json = succeed(
        folder.path(),
        &[
            "scaling", "--axis", "batch", "--sizes", "2,8", "--device", "cpu", "--json",
        ],
    );
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["axis"], "batch");
    assert_eq!(json[0]["points"][1]["size"], 8);
    assert!(json[0]["time"]["upper"]["exponent"].is_number());
}

#[test]
fn sizes_without_a_single_axis_are_wrong_usage() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let message = misuse(folder.path(), &["scaling", "--sizes", "2,8"]);
    assert!(message.contains("--axis"), "{message}");
    misuse(
        folder.path(),
        &["scaling", "--axis", "batch", "--sizes", "0"],
    );
}
