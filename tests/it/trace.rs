//! `diabolo trace`: what it measures, what it prints, and what it refuses.

use std::fs;
use std::sync::{Arc, LazyLock};

use crate::common::adapter::gpu;
use crate::common::program::{fail, output, succeed};
use crate::common::{small, small_conv};
use diabolo::buffer::Element;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::{Gpu, GpuOptions};
use diabolo::device::{Backend, Device};
use diabolo::image::ImageShape;
use diabolo::kernels::clock::Advance;
use diabolo::plan::PlanBuilder;
use diabolo::recipe::Recipe;
use diabolo::report::timeline;
use diabolo::trace::{GroupRow, Trace, random_images, trace};
use diabolo::train::Trainer;
use serde_json::Value;
use tempfile::tempdir;

const IMAGE: ImageShape = ImageShape {
    height: 28,
    width: 28,
    channels: 1,
};
const STEPS: usize = 2;

fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::Cpu(Cpu::<f32>::team(2).expect("threads"))];
    backends.extend(gpu(GpuOptions::default()).map(Backend::Gpu));
    backends
}

/// A convolutional recipe in small batches: a software GPU is slow.
fn recipe() -> Recipe {
    let mut recipe = small_conv();
    recipe.train.batch = 8;
    recipe
}

/// Its trace on every backend.
fn traces() -> &'static [(Backend, Trace)] {
    static TRACES: LazyLock<Vec<(Backend, Trace)>> = LazyLock::new(|| {
        let traced = |backend: Backend| {
            let trace = trace(&recipe(), IMAGE, &backend, Some(STEPS), |_| ());
            (backend, trace.expect("runs"))
        };
        backends().into_iter().map(traced).collect()
    });
    &TRACES
}

#[test]
fn launches_are_timed_in_order_and_add_up() {
    for (backend, trace) in traces() {
        let on_gpu = matches!(backend, Backend::Gpu(_));
        assert_eq!(trace.steps, STEPS);
        assert_eq!(
            (trace.device == "gpu", trace.adapter.is_some()),
            (on_gpu, on_gpu)
        );

        let images = random_images(IMAGE, trace.batch);
        let trainer = Trainer::new(&recipe(), &images, &images, backend, None).expect("fits");
        let program = trainer.program();
        let launches = program.plan.launches(program.train);
        assert_eq!(trace.launches.len(), launches.len());
        for (row, launch) in trace.launches.iter().zip(launches) {
            let name = &row.launch;
            assert_eq!(*name, launch.label.to_string());
            assert_eq!(row.kernel, launch.kernel.name());
            assert_eq!(row.figures.cost, launch.kernel.cost(), "{name}");
            assert_eq!(row.groups.is_some(), on_gpu, "{name}");
            assert!(row.figures.seconds > 0.0, "{name}");
            assert!(row.figures.floor_seconds > 0.0, "{name}");
        }
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
        let groups = [&trace.kernels, &trace.layers];
        for rows in groups {
            let sum = |measure: fn(&GroupRow) -> f64| rows.iter().map(measure).sum::<f64>();
            assert!(close(sum(|row| row.figures.share), 1.0));
            assert!(close(sum(|row| row.figures.seconds), trace.launch_seconds));
            assert_eq!(sum(|row| row.launches as f64), launches.len() as f64);
            assert!(rows.is_sorted_by(|a, b| a.figures.seconds >= b.figures.seconds));
        }
        let shares: f64 = trace.launches.iter().map(|row| row.figures.share).sum();
        assert!(close(shares, 1.0));
        assert_eq!(trace.total.cost, program.plan.cost(program.train));
        assert!(close(
            trace.launch_seconds + trace.gap_seconds,
            trace.step_seconds
        ));
        // Medians of few steps on a busy machine: but for that, a step is no shorter than its launches.
        assert!(trace.step_seconds > 0.2 * trace.launch_seconds);

        for step in &trace.timeline {
            let spans = &step.timing.launches;
            assert_eq!(spans.len(), launches.len());
            assert_eq!(spans[0].start, 0.0);
            assert!(spans.iter().all(|span| span.end >= span.start));
            // llvmpipe and the CPU run one launch after the other; a GPU may overlap some.
            let software = matches!(backend, Backend::Gpu(context) if context.is_software());
            if !on_gpu || software {
                assert!(spans.windows(2).all(|pair| pair[1].start >= pair[0].end));
            } else {
                assert!(spans.windows(2).all(|pair| pair[1].start >= pair[0].start));
            }
            assert_eq!(step.timing.host.is_empty(), !on_gpu);
        }
        assert_eq!(trace.counters.is_some(), on_gpu);
        if let Some(counters) = trace.counters {
            let steps = counters.steps as u64;
            assert_eq!(counters.running.launches, steps * launches.len() as u64);
            assert!(counters.loading.buffer_bytes >= counters.planned_bytes);
        }
    }
}

/// Timing changes nothing: the losses are those of steps that ran untimed.
#[test]
fn a_timed_step_computes_what_any_other_does() {
    for backend in backends() {
        let mut recipe = small();
        recipe.train.batch = 8;
        let images = random_images(IMAGE, 3 * recipe.train.batch);
        let mut losses = [false, true].map(|timed| {
            let mut trainer =
                Trainer::new(&recipe, &images, &images, &backend, None).expect("fits");
            let program = trainer.program();
            let (train, losses) = (program.train, program.notes[0].values);
            let device = trainer.device();
            for _ in 0..3 {
                match timed {
                    true => device.time_launches(train).map(|_| ()),
                    false => device.run(train, 1),
                }
                .expect("runs");
            }
            device.read_real(losses).expect("read")
        });
        let [plain, timed] = &mut losses;
        assert!(plain.iter().all(|loss| *loss > 0.0));
        assert_eq!(plain, timed);
    }
}

#[test]
fn a_timed_routine_longer_than_a_set_of_queries_is_timed_whole() {
    let Some(context) = gpu(GpuOptions::default()) else {
        return;
    };
    const LAUNCHES: usize = 2048 + 3;
    let mut plan = PlanBuilder::new();
    let clock = plan.persistent("clock", Element::Index, 2);
    let routine = plan.begin("ticks");
    for _ in 0..LAUNCHES {
        plan.launch("tick", Advance { clock });
    }
    let nothing = plan.begin("nothing");
    let plan = Arc::new(plan.finish(u64::MAX).expect("fits"));
    let mut gpu = Gpu::new(context, plan).expect("loads");
    let timing = gpu.time_launches(routine).expect("timed");
    assert_eq!(timing.launches.len(), LAUNCHES);
    assert!(timing.launches.is_sorted_by(|a, b| a.end <= b.start));
    let submits = timing.host.iter().filter(|(call, _)| *call == "submit");
    assert_eq!(submits.count(), 2);
    let counters = gpu.counters().expect("a GPU counts");
    assert_eq!(counters.dispatches, LAUNCHES as u64);
    assert_eq!(gpu.read_index(clock).expect("read")[0], LAUNCHES as u32);
    assert!(
        gpu.time_launches(nothing)
            .expect("timed")
            .launches
            .is_empty()
    );
}

/// The events of a timeline with this phase.
fn events<'a>(document: &'a Value, phase: &str) -> Vec<&'a Value> {
    let events = document["traceEvents"].as_array().expect("events");
    let of_phase = events.iter().filter(|event| event["ph"] == phase);
    of_phase.collect()
}

#[test]
fn the_timeline_has_named_tracks_whose_slices_nest() {
    let folder = tempdir().expect("a folder");
    let path = folder.path().join("trace.json");
    for (_, trace) in traces() {
        timeline::write(trace, &path).expect("written");
        let text = fs::read_to_string(&path).expect("there");
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let on_gpu = trace.adapter.is_some();
        let tracks = if on_gpu { 2 } else { 1 };
        assert_eq!(events(&document, "M").len(), 2 * tracks); // a process and a thread each

        let slices = events(&document, "X");
        let number = |event: &Value, key: &str| event[key].as_f64().expect("a number");
        let count = |category: &str| {
            let found = slices.iter().filter(|slice| slice["cat"] == category);
            found.count()
        };
        let steps = trace.timeline.len();
        assert!(steps > 1);
        assert_eq!(count("step"), steps);
        assert_eq!(count("pass"), 5 * steps);
        assert_eq!(count("launch"), steps * trace.launches.len());
        assert!(count("layer") > 2 * steps);
        assert_eq!(count("host") > 0, on_gpu);

        for track in 1..=tracks as u64 {
            // On a track a slice lies within the one that is open, or begins after its end.
            let mut open: Vec<f64> = Vec::new();
            let mut on_track: Vec<&Value> = slices
                .iter()
                .copied()
                .filter(|slice| slice["pid"] == track)
                .collect();
            on_track.sort_by(|a, b| {
                let key = |slice: &Value| (number(slice, "ts"), -number(slice, "dur"));
                key(a).partial_cmp(&key(b)).expect("numbers")
            });
            assert!(!on_track.is_empty());
            for slice in on_track {
                let (start, length) = (number(slice, "ts"), number(slice, "dur"));
                assert!(start >= 0.0 && length >= 0.0, "{slice}");
                let tick = 1e-4; // of a microsecond: they are whole nanoseconds
                open.retain(|end| start < end - tick);
                assert!(
                    open.iter().all(|end| start + length <= end + tick),
                    "{slice}"
                );
                open.push(start + length);
            }
        }
    }
}

const SMALL: &str = include_str!("common/small.toml");

#[test]
fn the_command_prints_tables_and_one_json_object() {
    let folder = tempdir().expect("a folder");
    fs::write(folder.path().join("small.toml"), SMALL).expect("written");
    let command = ["trace", "small.toml", "--device", "cpu", "--steps", "3"];
    let text = succeed(folder.path(), &command);
    for part in [
        "ceilings:",
        "gemm, weight",
        "encoder.0",
        "64×784×40",
        "GFLOP/s",
        "share",
        "untraced",
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    let widest = text.lines().map(|line| line.chars().count()).max();
    // As wide as a recipe with an `encoder.10` makes it.
    assert!(widest <= Some(121), "{widest:?}");

    let with = |more: &[&str]| succeed(folder.path(), &[&command, more].concat());
    let text = with(&["--json", "--batch", "16", "--perfetto", "timeline.json"]);
    let trace: Value = serde_json::from_str(&text).expect("one object");
    assert_eq!((&trace["batch"], &trace["steps"]), (&16.into(), &3.into()));
    for key in [
        "recipe",
        "device",
        "adapter",
        "threads",
        "image",
        "step_seconds",
        "launch_seconds",
        "gap_seconds",
        "total",
    ] {
        assert!(trace.get(key).is_some(), "{key}");
    }
    assert!(trace["ceilings"]["gemm"].as_f64() > Some(0.0));
    assert!(trace["ceilings"]["copies"][0]["rate"].as_f64() > Some(0.0));
    for (rows, own) in [
        ("launches", &["launch", "layer", "kernel", "shapes"][..]),
        ("kernels", &["name"]),
        ("layers", &["name"]),
    ] {
        for row in trace[rows].as_array().expect("rows") {
            assert!(own.iter().all(|key| row[key].is_string()), "{row}");
            for key in [
                "flops",
                "read",
                "written",
                "seconds",
                "gflops",
                "gbytes_per_s",
                "intensity",
                "floor_seconds",
                "pct_of_ceiling",
                "share",
            ] {
                assert!(row[key].is_number(), "{key} in {row}");
            }
        }
    }
    let gemm = &trace["launches"][1];
    assert_eq!(gemm["product"], serde_json::json!([16, 784, 40]));
    assert!(gemm["groups"].is_null());
    assert!(folder.path().join("timeline.json").is_file());
}

#[test]
fn what_cannot_be_traced_or_written_is_refused_at_once() {
    let folder = tempdir().expect("a folder");
    let refused = |more: &[&str]| fail(folder.path(), &[&["trace"], more].concat());
    let error = refused(&["no-such-recipe"]);
    assert!(error.contains("no recipe `no-such-recipe`"), "{error}");
    let error = refused(&["mnist-dense", "--device", "no such adapter"]);
    assert!(error.contains("no such adapter"), "{error}");
    let error = refused(&["mnist-dense", "--batch", "1000000"]);
    assert!(error.contains("batch"), "{error}");
    let arguments = ["trace", "mnist-dense", "--batch", "0"];
    assert_eq!(output(folder.path(), &arguments).status.code(), Some(2));

    let old = folder.path().join("old.json");
    fs::write(&old, "old").expect("written");
    let error = refused(&["mnist-dense", "--perfetto", "old.json"]);
    assert!(error.contains("old.json is there already"), "{error}");
    let error = refused(&["mnist-dense", "--perfetto", "absent/new.json"]);
    assert!(error.contains("absent is no folder"), "{error}");
    assert_eq!(fs::read_to_string(&old).expect("there"), "old");
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1);

    fs::write(folder.path().join("small.toml"), SMALL).expect("written");
    let command = ["trace", "small.toml", "--device", "cpu", "--steps", "1"];
    let replace = ["--perfetto", "old.json", "--force"];
    succeed(folder.path(), &[&command[..], &replace].concat());
    let text = fs::read_to_string(&old).expect("there");
    assert!(text.contains("traceEvents"));

    // What can only be found out when the file gets its name costs none of what was measured.
    fs::create_dir(folder.path().join("in-the-way")).expect("made");
    let replace = ["--perfetto", "in-the-way", "--force"];
    let output = output(folder.path(), &[&command[..], &replace].concat());
    let [text, error] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("cannot write in-the-way"), "{error}");
    assert!(text.contains("untraced"), "{text}");
}
