//! `diabolo scaling`

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use diabolo::bench::scaling::{Axis, Point, Series, measure, points};
use diabolo::report::scaling::draw;

use super::{DeviceOptions, Done, Failure, Usage, print, progress, refuse_to_replace, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo scaling --device cpu          every axis, small sizes: half a minute
  diabolo scaling --axis width --full   widths up to 8,192
  diabolo scaling --axis data --sizes 1000,100000,1000000
  diabolo scaling --full --charts docs  charts too: five minutes on two cores
  diabolo scaling --json > scaling.json

Time is the median over repeated runs. Exponents are least-squares fits of the logarithm of time, or of \
memory, to the logarithm of the size: over all sizes, and over the upper half of their range. Memory is \
what is planned on the device, or all that the process holds. Sizes that do not fit are told.")]
pub struct Options {
    /// What grows [default: every axis]
    #[arg(long, value_delimiter = ',', value_name = "AXIS,…")]
    axis: Vec<AxisName>,
    /// Measure the whole ranges, and each size for longer
    #[arg(long)]
    full: bool,
    /// Sizes to measure, if a single axis is given
    #[arg(long, value_delimiter = ',', value_name = "N,…",
          value_parser = clap::value_parser!(u32).range(1..=1 << 28))]
    sizes: Option<Vec<u32>>,
    /// Folder to draw a chart of each axis in
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
    /// Replace charts that are there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    device: DeviceOptions,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum AxisName {
    /// Images in a training step: 1 to 16,384
    Batch,
    /// Width of the hidden layers: 64 to 8,192
    Width,
    /// Training images, all on the device and in windows: 1,000 to 1,024,000
    Data,
    /// References of a nearest-neighbour search: 1,000 to 1,024,000 × 784
    References,
    /// Labelled images of a few-label evaluation: 10 to 10,240
    Labels,
}

impl From<AxisName> for Axis {
    fn from(name: AxisName) -> Axis {
        match name {
            AxisName::Batch => Axis::Batch,
            AxisName::Width => Axis::Width,
            AxisName::Data => Axis::Data,
            AxisName::References => Axis::References,
            AxisName::Labels => Axis::Labels,
        }
    }
}

pub fn scaling(options: &Options) -> Result<Done, Failure> {
    let asked = options.axis.iter().map(|&name| Axis::from(name));
    let axes: Vec<Axis> = match options.axis.is_empty() {
        true => Axis::ALL.into(),
        false => asked.collect(),
    };
    let sizes = |axis: Axis| match &options.sizes {
        Some(sizes) => sizes.iter().map(|&size| size as usize).collect(),
        None => axis.sizes(options.full),
    };
    if options.sizes.is_some() && axes.len() != 1 {
        let message = "--sizes are sizes of one axis\nhint: --axis batch --sizes 64,128";
        return Err(Usage(message.to_owned()).into());
    }
    let chart = |folder: &Path, axis: Axis| folder.join(format!("scaling-{}.svg", axis.name()));
    if let Some(folder) = &options.charts {
        if !folder.is_dir() {
            return Err(format!(
                "{} is no folder to draw in\nhint: make it first",
                folder.display()
            )
            .into());
        }
        for &axis in &axes {
            refuse_to_replace(&chart(folder, axis), options.force)?;
        }
    }
    let backend = options.device.open()?.backend;
    let budget = Duration::from_millis(if options.full { 2000 } else { 500 });
    let length: usize = axes
        .iter()
        .map(|&axis| points(axis, sizes(axis).len()))
        .sum();
    let bar = progress::bar("measuring", length as u64);
    let mut all: Vec<Series> = Vec::new();
    let mut before = 0;
    for &axis in &axes {
        let sizes = sizes(axis);
        bar.set_message(axis.name());
        let series = measure(axis, &sizes, &backend, budget, |done| {
            bar.set_position((before + done) as u64);
        })?;
        if let Some(folder) = &options.charts {
            draw(&series, &chart(folder, axis))?;
        }
        before += points(axis, sizes.len());
        all.extend(series);
    }
    bar.finish_and_clear();
    match options.json {
        true => print(serde_json::to_string_pretty(&all)?)?,
        false => all.iter().try_for_each(show)?,
    }
    Ok(Done::Fully)
}

/// A table of the points, and the exponents in a line.
fn show(series: &Series) -> Result<(), Failure> {
    let axis = series.axis;
    let way = match series.name {
        "" => String::new(),
        name => format!(", {name}"),
    };
    print(format!("{} over {}{way}", axis.timed(), axis.size()))?;
    let memory = format!("memory, {}", series.memory_is);
    let mut table = table::new([axis.name(), "median ms", "fastest ms", "runs", &memory, ""]);
    table::align_right(&mut table, 0..5);
    for point in &series.points {
        table.add_row(row(point));
    }
    print(table)?;
    for (what, growth) in [("time", series.time), ("memory", series.memory)] {
        if let Some(growth) = growth {
            let (all, upper) = (growth.all.exponent, growth.upper.exponent);
            print(format!(
                "{what} grows as {}^{upper:.2} over the upper half, as {}^{all:.2} over all",
                axis.name(),
                axis.name()
            ))?;
        }
    }
    print("")
}

fn row(point: &Point) -> [String; 6] {
    let ms = |value: Option<f64>| value.map_or(String::new(), |ms| format!("{ms:.3}"));
    let memory = point.memory_bytes;
    let memory = memory.map(|bytes| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)));
    [
        point.size.to_string(),
        ms(point.median_ms),
        ms(point.min_ms),
        point.runs.to_string(),
        memory.unwrap_or_default(),
        point.note.clone().unwrap_or_default(),
    ]
}
