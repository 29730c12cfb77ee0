//! The V of finite differences: in characters, and as a picture.

use std::path::Path;

use plotters::prelude::*;

use crate::files::{FileError, write_atomically};
use crate::gradcheck::{Sweep, SweepPoint};

type Curve = (&'static str, fn(&SweepPoint) -> f64, RGBColor, char);

const CURVES: [Curve; 3] = [
    (
        "f64, D(h)",
        |point| point.central,
        RGBColor(0, 114, 178),
        'o',
    ),
    (
        "f64, fourth order",
        |point| point.fourth_order,
        RGBColor(0, 158, 115),
        '+',
    ),
    ("f32, D(h)", |point| point.single, RGBColor(213, 94, 0), 'x'),
];

/// Decades of relative error that are shown.
const LOWEST: f64 = 1e-13;
const HIGHEST: f64 = 10.0;

/// A small plot for a terminal, both axes logarithmic.
pub fn text(sweep: &Sweep) -> String {
    let row_of = |error: f64| {
        let error = error.clamp(LOWEST, HIGHEST);
        (HIGHEST.log10() - error.log10()).round() as usize
    };
    let rows = row_of(LOWEST) + 1;
    let mut canvas = vec![vec![' '; 2 * sweep.points.len()]; rows];
    for (_, value, _, mark) in CURVES {
        for (column, point) in sweep.points.iter().rev().enumerate() {
            canvas[row_of(value(point))][2 * column] = mark;
        }
    }
    let mut text = format!(
        "{}: relative error of differences, by their width h\n",
        sweep.layer
    );
    for (row, line) in canvas.iter().enumerate() {
        let line: String = line.iter().collect();
        let decade = HIGHEST.log10() as i32 - row as i32;
        text.push_str(&format!(
            "{:>7} │{}\n",
            format!("1e{decade}"),
            line.trim_end()
        ));
    }
    let (first, last) = (
        sweep.points[0].step,
        sweep.points[sweep.points.len() - 1].step,
    );
    let width = 2 * sweep.points.len();
    text.push_str(&format!("        └{}\n", "─".repeat(width)));
    text.push_str(&format!(
        "         h = {last:<.0e}{first:>0$.0e}\n",
        width - 8
    ));
    let legend = CURVES.map(|(name, _, _, mark)| format!("{mark} {name}"));
    text.push_str(&format!("         {}", legend.join("    ")));
    text
}

/// The same as an SVG picture, whole or not at all.
pub fn draw(sweep: &Sweep, path: &Path) -> Result<(), FileError> {
    let mut svg = String::new();
    // Drawing into a string cannot fail.
    plot(sweep, &mut svg).expect("a string takes everything");
    write_atomically(path, |writer| writer.write_all(svg.as_bytes()))
}

fn plot(sweep: &Sweep, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, (720, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let (first, last) = (
        sweep.points[0].step,
        sweep.points[sweep.points.len() - 1].step,
    );
    let mut chart = ChartBuilder::on(&root)
        .caption(
            format!("Differences against the gradient of {}", sweep.layer),
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d((last..first).log_scale(), (LOWEST..HIGHEST).log_scale())?;
    let power = |value: &f64| format!("1e{:.0}", value.log10());
    chart
        .configure_mesh()
        .x_desc("h")
        .y_desc("median relative error")
        .x_label_formatter(&power)
        .y_label_formatter(&power)
        .light_line_style(WHITE)
        .draw()?;
    for (name, value, colour, _) in CURVES {
        let points = sweep.points.iter();
        let points = points.map(|point| (point.step, value(point).clamp(LOWEST, HIGHEST)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(2))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}
