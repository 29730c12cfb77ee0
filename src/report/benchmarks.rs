//! Pictures of benchmarks.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::bench::Row;
use crate::files::{FileError, write_atomically};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Okabe and Ito's, which colour-blind readers tell apart; one to a series or device.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// Each row's number in the order in which names first appear, and the names.
fn numbered(rows: &[Row], name: impl Fn(&Row) -> String) -> (Vec<usize>, Vec<String>) {
    let mut names: Vec<String> = Vec::new();
    let number = |row| {
        let name = name(row);
        names
            .iter()
            .position(|other| *other == name)
            .unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            })
    };
    (rows.iter().map(number).collect(), names)
}

fn write(path: &Path, svg: &str) -> Result<(), FileError> {
    write_atomically(path, |writer| writer.write_all(svg.as_bytes()))
}

/// Time of a step over the batch size, a line for each workload and device, as an SVG picture. There
/// must be a row at least.
pub fn draw_steps(rows: &[Row], path: &Path) -> Result<(), FileError> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (720, 480)).into_drawing_area();
    // Drawing into a string cannot fail.
    steps(&root, rows).expect("a string takes everything");
    drop(root);
    write(path, &svg)
}

/// From a little below the smallest to a little above the largest, for a logarithmic axis.
fn reach(values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
    let (least, most) = (
        values.clone().fold(f64::INFINITY, f64::min),
        values.fold(0.0, f64::max),
    );
    least / 1.5..most * 1.5
}

fn steps(root: &Area, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    root.fill(&WHITE)?;
    let batch = |row: &Row| row.batch.unwrap_or(1) as f64;
    let mut chart = ChartBuilder::on(root)
        .caption("Time of a training step", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(
            reach(rows.iter().map(batch)).log_scale().base(2.0),
            reach(rows.iter().map(|row| row.median_ms)).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("images in a batch")
        .y_desc("milliseconds, median")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y}"))
        .light_line_style(WHITE)
        .draw()?;
    let (numbers, names) = numbered(rows, |row| format!("{}, {}", row.workload, row.device));
    for (number, name) in names.into_iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let points = rows
            .iter()
            .zip(&numbers)
            .filter(|(_, other)| **other == number);
        let points = points.map(|(row, _)| (batch(row), row.median_ms));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(root.present()?)
}

/// GFLOP/s of each row as a bar in its device's colour, with a black mark where the ceilings are, as an
/// SVG picture. There must be a row at least.
pub fn draw_rates(title: &str, rows: &[Row], path: &Path) -> Result<(), FileError> {
    let mut svg = String::new();
    let height = 140 + 18 * rows.len() as u32;
    let root = SVGBackend::with_string(&mut svg, (820, height)).into_drawing_area();
    rates(&root, title, rows).expect("a string takes everything");
    drop(root);
    write(path, &svg)
}

/// Width of what is written before the bars.
const LABELS: u32 = 240;

fn rates(root: &Area, title: &str, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    root.fill(&WHITE)?;
    let rate = |row: &Row| row.gflops.unwrap_or(0.0);
    let ceiling = |row: &Row| row.ceiling_gflops().unwrap_or(0.0);
    let most = rows.iter().map(|row| rate(row).max(ceiling(row)));
    let most = most.fold(0.0, f64::max);
    let (numbers, names) = numbered(rows, |row| row.device.clone());
    // Below the last bar there is room for the legend.
    let count = rows.len() as f64 + 1.0 + 1.2 * names.len() as f64;
    let mut chart = ChartBuilder::on(root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(LABELS)
        // The first row on top.
        .build_cartesian_2d(0.0..1.08 * most, count..0.0)?;
    chart
        .configure_mesh()
        .x_desc("GFLOP/s, median; the mark is the ceiling")
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(WHITE)
        .draw()?;
    for (number, name) in names.into_iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let bars = rows
            .iter()
            .enumerate()
            .filter(|(at, _)| numbers[*at] == number);
        let bars = bars.map(|(at, row)| {
            let top = at as f64;
            Rectangle::new(
                [(0.0, top + 0.15), (rate(row), top + 0.85)],
                colour.filled(),
            )
        });
        chart
            .draw_series(bars)?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart.draw_series(rows.iter().enumerate().map(|(at, row)| {
        let (x, top) = (ceiling(row), at as f64);
        PathElement::new([(x, top + 0.05), (x, top + 0.95)], BLACK.stroke_width(2))
    }))?;
    for (at, row) in rows.iter().enumerate() {
        let (_, y) = chart.backend_coord(&(0.0, at as f64 + 0.5));
        let style = ("sans-serif", 12).into_text_style(root).pos(right_middle());
        root.draw_text(&label(row), &style, (LABELS as i32 + 5, y))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(root.present()?)
}

fn right_middle() -> plotters::style::text_anchor::Pos {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    Pos::new(HPos::Right, VPos::Center)
}

/// What a bar is, in a few words.
fn label(row: &Row) -> String {
    match (row.workload, &row.detail, &row.shapes) {
        ("dense" | "conv", Some(detail), _) => format!("{}: {detail}", row.workload),
        (_, _, Some(shapes)) => format!("{} {shapes}", row.kernel),
        _ => row.kernel.clone(),
    }
}
