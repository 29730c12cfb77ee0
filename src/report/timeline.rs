//! A few traced steps in the trace-event format that <https://ui.perfetto.dev> opens.
//!
//! Tracks: on the CPU one, with steps, passes, layers and launches nested. On a GPU two: its launches by
//! its own clock, and the host's calls by the host's. The two clocks are not synchronised; a step's first
//! launch is drawn where the host begins to submit it, the earliest that it can have been.
//!
//! Format: “Trace Event Format”, Google, 2016: complete events (`X`, microseconds) and metadata (`M`).

use std::ops::Range;
use std::path::Path;

use serde_json::{Value, json};

use crate::device::Span;
use crate::files::{FileError, write_atomically};
use crate::trace::{LaunchRow, TimedStep, Trace, runs};

/// A track: process and thread.
#[derive(Clone, Copy)]
struct Track(u32, u32);

const DEVICE: Track = Track(1, 1);
const HOST: Track = Track(2, 1);

/// Writes the timeline to a JSON file, whole or not at all.
pub fn write(trace: &Trace, path: &Path) -> Result<(), FileError> {
    let document = json!({ "traceEvents": events(trace), "displayTimeUnit": "ns" });
    write_atomically(path, |writer| Ok(serde_json::to_writer(writer, &document)?))
}

fn events(trace: &Trace) -> Vec<Value> {
    let device = match &trace.adapter {
        Some(adapter) => format!("GPU: {adapter}"),
        None => format!("CPU: {} threads", trace.threads),
    };
    let mut events = Vec::new();
    name_track(&mut events, DEVICE, &device, "launches");
    if trace.adapter.is_some() {
        name_track(&mut events, HOST, "host", "calls");
    }
    for (index, step) in trace.timeline.iter().enumerate() {
        let name = format!("step {}", index + 1);
        draw_launches(&mut events, &trace.launches, step, &name);
        for (call, span) in &step.timing.host {
            let args = json!({ "step": index + 1 });
            events.push(complete(HOST, call, "host", step.at, *span, args));
        }
    }
    events
}

fn name_track(events: &mut Vec<Value>, Track(pid, tid): Track, process: &str, thread: &str) {
    for (what, name) in [("process_name", process), ("thread_name", thread)] {
        let args = json!({ "name": name });
        events.push(json!({ "ph": "M", "pid": pid, "tid": tid, "name": what, "args": args }));
    }
}

/// A slice. Both ends are rounded to whole nanoseconds, so that nested slices stay nested.
fn complete(
    Track(pid, tid): Track,
    name: &str,
    category: &str,
    origin: f64,
    span: Span,
    args: Value,
) -> Value {
    let nanoseconds = |seconds: f64| (1e9 * (origin + seconds)).round();
    let (start, end) = (nanoseconds(span.start), nanoseconds(span.end));
    json!({
        "ph": "X", "pid": pid, "tid": tid, "name": name, "cat": category,
        "ts": start / 1e3, "dur": (end - start) / 1e3, "args": args,
    })
}

fn draw_launches(events: &mut Vec<Value>, rows: &[LaunchRow], step: &TimedStep, name: &str) {
    let spans = &step.timing.launches;
    let submitted = step.timing.host.iter().find(|(call, _)| *call == "submit");
    let origin = step.at + submitted.map_or(0.0, |(_, span)| span.start);
    let mut enclose = |name: &str, category: &str, range: Range<usize>| {
        let ends = spans[range.clone()].iter().map(|span| span.end);
        let span = Span {
            start: spans[range.start].start,
            end: ends.fold(0.0, f64::max),
        };
        let args = json!({ "launches": range.len() });
        events.push(complete(DEVICE, name, category, origin, span, args));
    };
    // Viewers nest slices of the same extent in the order of the file: the outermost first.
    enclose(name, "step", 0..rows.len());
    for range in runs(rows, |row| row.pass) {
        enclose(rows[range.start].pass, "pass", range);
    }
    for range in runs(rows, |row| (row.pass, row.layer.clone())) {
        enclose(&rows[range.start].layer, "layer", range);
    }
    for (row, span) in rows.iter().zip(spans) {
        let figures = &row.figures;
        let args = json!({
            "launch": row.launch,
            "shapes": row.shapes,
            "groups": row.groups,
            "flops": figures.cost.flops,
            "bytes": figures.cost.bytes(),
            "pct_of_ceiling": 100.0 * figures.floor_seconds / span.seconds(),
        });
        events.push(complete(DEVICE, row.kernel, "launch", origin, *span, args));
    }
}
