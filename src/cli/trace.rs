//! `diabolo trace`

use std::path::PathBuf;

use clap::Args;

use diabolo::experiment;
use diabolo::recipe::Recipe;
use diabolo::report::timeline;
use diabolo::trace::{Counted, Trace, trace};
use diabolo::train::Silent;

use super::say::say;
use super::{DeviceOptions, Done, Failure, print, progress, refuse_unwritable, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo trace mnist-dense
  diabolo trace reference-conv --device gpu --batch 1024
  diabolo trace mnist-dense --json > trace.json
  diabolo trace mnist-dense --perfetto trace.json   for https://ui.perfetto.dev

Times are medians, by GPU timestamps or a monotonic clock on the CPU. The ceilings are this \
machine's own, measured beforehand: a large matrix product in FLOP/s, and copies in bytes read and \
written per second, of as much memory as the launch touches. `ceiling` is the time that the scarcer \
of the two would take, in percent of the time it took; more than 100 means that a launch found its \
data in a faster cache than a copy of that size does. The step is measured untraced, as training \
runs it, in turns with the traced steps.

On a GPU it also counts what is created and what the host waits for: while loading, and in eight \
steps that run at once.

--json prints one object: recipe, device, adapter, threads, batch, image, steps, \
counters {planned_bytes, loading, steps, running} (null on the CPU; both with pipelines, bind_groups, \
buffers, buffer_bytes, submits, passes, launches, dispatches, uploads, upload_bytes, reads, \
read_bytes, waits), ceilings {gemm, copies [{bytes, rate}]}, step_seconds, launch_seconds, gap_seconds, launches, \
kernels, layers, total. A launch has launch, layer, pass, kernel, product [m, k, n], shapes, \
largest and groups; a kernel or layer has name and launches; all of them have flops, read, written \
(bytes), seconds, gflops, gbytes_per_s, intensity (FLOPs per byte), floor_seconds, pct_of_ceiling \
and share.")]
pub struct Options {
    /// A built-in recipe, or a file
    recipe: String,
    #[command(flatten)]
    device: DeviceOptions,
    /// Images per step, instead of the recipe's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: Option<u32>,
    /// Steps to trace [default: as many as take two seconds, and at least five]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    steps: Option<u32>,
    /// Also write a few steps as a timeline for the Perfetto viewer
    #[arg(long, value_name = "FILE.json")]
    perfetto: Option<PathBuf>,
    /// Replace that file if it is there
    #[arg(long)]
    force: bool,
    /// Also show FLOPs, bytes and their rates; the table is then wider than 80 characters
    #[arg(long)]
    wide: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> Result<Done, Failure> {
    const RESOLUTION: f64 = 1000.0;
    let mut recipe = Recipe::load_last_phase(&options.recipe)?;
    if let Some(batch) = options.batch {
        recipe.train.batch = batch as usize;
        recipe.check("with --batch")?;
    }
    if let Some(path) = &options.perfetto {
        refuse_unwritable(path, options.force)?;
    }
    // Only the shape of the images matters; most data sets have it without being opened.
    let image = match recipe.data.image() {
        Some(image) => image,
        None => experiment::load(&recipe, &mut Silent)?.train.shape(),
    };
    let backend = options.device.open()?.backend;

    let bar = progress::bar("tracing", RESOLUTION as u64);
    let steps = options.steps.map(|steps| steps as usize);
    let trace = trace(&recipe, image, &backend, steps, |part| {
        bar.set_position((RESOLUTION * part) as u64)
    })?;
    bar.finish_and_clear();

    match options.json {
        true => print(serde_json::to_string_pretty(&trace)?)?,
        false => show(&trace, options.wide)?,
    }
    // Last: if it fails, what was measured is not lost.
    if let Some(path) = &options.perfetto {
        timeline::write(&trace, path)?;
        let path = path.display();
        say(format!(
            "timeline written to {path}: open it in https://ui.perfetto.dev"
        ));
    }
    Ok(Done::Fully)
}

fn show(trace: &Trace, wide: bool) -> Result<(), Failure> {
    let (recipe, batch, steps) = (&trace.recipe, trace.batch, trace.steps);
    print(format!(
        "{recipe}, batch {batch}: {} launches, medians of {steps} steps",
        trace.launches.len(),
    ))?;
    print(table::wrapped(&ceilings(trace)))?;
    if let Some(counters) = &trace.counters {
        print(table::wrapped(&counted(counters)))?;
    }
    print(table::trace_launches(trace, wide))?;
    print(table::trace_groups("kernel", &trace.kernels, wide))?;
    print(table::trace_groups("layer", &trace.layers, wide))?;
    print(table::TRACE_LEGEND)?;
    let microseconds = |seconds: f64| 1e6 * seconds;
    print(table::wrapped(&format!(
        "launches {:.0} µs {:+.0} µs beside them = step {:.0} µs, untraced: {:.0} % of the ceilings, \
         which allow {:.0} µs",
        microseconds(trace.launch_seconds),
        microseconds(trace.gap_seconds),
        microseconds(trace.step_seconds),
        100.0 * trace.total.floor_seconds / trace.step_seconds,
        microseconds(trace.total.floor_seconds),
    )))
}

/// What a GPU was asked for, in two lines.
fn counted(counters: &Counted) -> String {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let (loading, running) = (&counters.loading, &counters.running);
    format!(
        "loading: {} pipelines, {} bind groups, {} buffers of {} (the plan needs {})\n\
         {} steps: submissions {}, passes {}, launches {}, dispatches {}; created: pipelines {}, \
         bind groups {}, buffers {}; uploads {}, reads {}, waits {}",
        loading.pipelines,
        loading.bind_groups,
        loading.buffers,
        mib(loading.buffer_bytes),
        mib(counters.planned_bytes),
        counters.steps,
        running.submits,
        running.passes,
        running.launches,
        running.dispatches,
        running.pipelines,
        running.bind_groups,
        running.buffers,
        running.uploads,
        running.reads,
        running.waits,
    )
}

/// `ceilings: 190 GFLOP/s; copies of 128 KiB 100 GB/s, …`
fn ceilings(trace: &Trace) -> String {
    let copies = trace.ceilings.copies.iter().map(|copy| {
        let size = match copy.bytes >> 20 {
            0 => format!("{} KiB", copy.bytes >> 10),
            mib => format!("{mib} MiB"),
        };
        format!("{size} {}", table::short(1e-9 * copy.rate))
    });
    let copies: Vec<String> = copies.collect();
    let gemm = table::short(1e-9 * trace.ceilings.gemm);
    format!(
        "ceilings: {gemm} GFLOP/s; copies in GB/s: {}",
        copies.join(", ")
    )
}
