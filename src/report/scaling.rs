//! Charts of time and memory over size, both axes logarithmic.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::bench::scaling::{Growth, Point, Power, Series};
use crate::files::{FileError, write_atomically};

/// Easy to tell apart, for colour-blind eyes too.
const COLOURS: [RGBColor; 2] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0)];

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// What a panel shows.
struct Quantity {
    caption: String,
    unit: &'static str,
    value: fn(&Point) -> Option<f64>,
    growth: fn(&Series) -> Option<Growth>,
}

/// Draws the series of one axis as an SVG picture, whole or not at all: time on the left, memory on
/// the right, each with the power of the size that fits the upper half.
pub fn draw(series: &[Series], path: &Path) -> Result<(), FileError> {
    let mut svg = String::new();
    // Drawing into a string cannot fail.
    plot(series, &mut svg).expect("a string takes everything");
    write_atomically(path, |writer| writer.write_all(svg.as_bytes()))
}

fn plot(series: &[Series], svg: &mut String) -> Drawn {
    let root = SVGBackend::with_string(svg, (960, 400)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(480);
    let timed = series.first().map_or("", |series| series.axis.timed());
    let memory = series.first().map_or("", |series| series.memory_is);
    let time = Quantity {
        caption: format!("Time of a {timed}"),
        unit: "ms",
        value: |point| point.median_ms,
        growth: |series| series.time,
    };
    let memory = Quantity {
        caption: format!("Memory, {memory}"),
        unit: "MiB",
        value: |point| point.memory_bytes.map(mebibytes).filter(|&m| m > 0.0),
        growth: |series| {
            let scaled = |mut power: Power| {
                power.factor *= mebibytes(1);
                power
            };
            let growth = series.memory?;
            Some(Growth {
                all: scaled(growth.all),
                upper: scaled(growth.upper),
            })
        },
    };
    panel(&left, series, &time)?;
    panel(&right, series, &memory)?;
    root.present()?;
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn panel(area: &Panel, series: &[Series], quantity: &Quantity) -> Drawn {
    let place = |point: &Point| Some((point.size as f64, (quantity.value)(point)?));
    let places =
        |series: &Series| -> Vec<(f64, f64)> { series.points.iter().filter_map(place).collect() };
    let all: Vec<(f64, f64)> = series.iter().flat_map(places).collect();
    let span = |values: &dyn Fn(&(f64, f64)) -> f64, margin: f64| {
        let low = all.iter().map(values).fold(f64::MAX, f64::min);
        let high = all.iter().map(values).fold(f64::MIN, f64::max);
        low / margin..high * margin
    };
    if all.is_empty() {
        return Ok(());
    }
    let (across, up) = (span(&|place| place.0, 1.2), span(&|place| place.1, 2.0));
    let mut chart = ChartBuilder::on(area)
        .caption(&quantity.caption, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(across.log_scale(), up.log_scale())?;
    chart
        .configure_mesh()
        .x_desc(series[0].axis.size())
        .y_desc(quantity.unit)
        .x_label_formatter(&short)
        .y_label_formatter(&short)
        .light_line_style(WHITE)
        .draw()?;
    for (series, colour) in series.iter().zip(COLOURS.into_iter().cycle()) {
        let places = places(series);
        let (Some(&first), Some(&last)) = (places.first(), places.last()) else {
            continue;
        };
        let circle = |place| Circle::new(place, 3, colour.filled());
        chart.draw_series(places.iter().copied().map(circle))?;
        let Some(Growth { upper, .. }) = (quantity.growth)(series) else {
            continue;
        };
        let middle = (first.0 * last.0).sqrt();
        let line = [middle, last.0].map(|x| (x, upper.at(x)));
        let label = format!("{} size^{:.2}", series.name, upper.exponent);
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(label.trim_start())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

/// A number as an axis has it: 0.01, 3, 20k, 1M.
fn short(value: &f64) -> String {
    let scales = [(1e6, "M"), (1e3, "k")];
    match scales.into_iter().find(|(scale, _)| value >= scale) {
        Some((scale, letter)) => format!("{}{letter}", value / scale),
        None => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_on_an_axis_are_short() {
        let shown = [0.01, 3.0, 20_000.0, 1e6].map(|value| short(&value));
        assert_eq!(shown, ["0.01", "3", "20k", "1M"]);
    }
}
