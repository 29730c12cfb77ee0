//! Tables on standard output, and what their columns mean.

use std::io::IsTerminal;

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Row, Table, TableStyle,
};

use diabolo::bench;
use diabolo::evaluate::{self, BASELINE, Denoising};
use diabolo::gradcheck::{self, Trouble};
use diabolo::lockstep::{LaunchRecord, Report, StepRecord};
use diabolo::trace::{Figures, GroupRow, LaunchRow, Trace};

/// Characters in a line that is not written to a terminal.
const WIDTH: u16 = 80;

/// A rule above, below and under the header; nothing between the rows.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// An empty table with this header.
pub fn new(header: impl Into<Row>) -> Table {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    if !std::io::stdout().is_terminal() {
        table.set_width(WIDTH); // a terminal has its own
    }
    // Two spaces between columns: more of them fit a terminal of 80 characters.
    for column in table.column_iter_mut() {
        column.set_padding((1, 0));
    }
    table
}

/// Makes a column as wide as its widest cell, so that the others wrap: a name cut in two is hard to read.
pub fn keep_whole(table: &mut Table, column: usize) {
    let column = table.column_mut(column).expect("as many as the header has");
    column.set_constraint(ColumnConstraint::ContentWidth);
}

/// Sets columns of numbers flush right.
pub fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        let column = table.column_mut(column).expect("as many as the header has");
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// What the columns of the few-label table mean.
pub const FEW_LABEL_LEGEND: &str = "\
labels     labelled images that the judge sees
draws      how many times they are drawn
judge      knn-1: the class of the nearest labelled image; knn-chosen: the vote
           of k neighbours, k chosen on the labelled images alone
pixels     test images classified rightly, in %: mean ± standard deviation
features   the same of the features that the model has learned
gain       features over pixels on the same draws: mean ± half of Student's 95 %
           confidence interval";

/// Few-label accuracies in percent: a line for each number of labels and judge.
pub fn few_label(rows: &[evaluate::Row]) -> Table {
    let percent = |value: f64| format!("{:.2}", 100.0 * value);
    let mut table = new(["labels", "draws", "judge", "pixels", "features", "gain"]);
    align_right(&mut table, [0, 1, 3, 4, 5]);
    let spread = |row: &evaluate::Row| match row.draws {
        1 => percent(row.mean),
        _ => format!("{} ± {}", percent(row.mean), percent(row.sd)),
    };
    for row in rows {
        let Some(gain) = row.gain else {
            continue; // the baseline stands in the line of what is compared with it
        };
        let baseline = rows.iter().find(|other| {
            (other.labels, &other.judge) == (row.labels, &row.judge)
                && other.representation == BASELINE
        });
        // Student's interval lies evenly around its mean.
        let interval = gain
            .ci95
            .map(|[low, high]| format!(" ± {}", percent((high - low) / 2.0)));
        table.add_row([
            row.labels.to_string(),
            row.draws.to_string(),
            row.judge.clone(),
            baseline.map_or_else(String::new, spread),
            spread(row),
            format!("{:+.2}{}", 100.0 * gain.mean, interval.unwrap_or_default()),
        ]);
    }
    table
}

/// Quality of noisy and restored images, by level of noise.
pub fn denoising(rows: &[Denoising]) -> Table {
    let mut table = new([
        "noise σ",
        "PSNR noisy dB",
        "restored dB",
        "gain dB",
        "SSIM noisy",
        "restored",
    ]);
    align_right(&mut table, 0..6);
    let similarity = |ssim: Option<f64>| match ssim {
        Some(ssim) => format!("{ssim:.3}"),
        None => "–".to_owned(),
    };
    for row in rows {
        table.add_row([
            row.sigma.to_string(),
            format!("{:.2}", row.psnr_noisy),
            format!("{:.2}", row.psnr_restored),
            format!("{:+.2}", row.psnr_gain),
            similarity(row.ssim_noisy),
            similarity(row.ssim_restored),
        ]);
    }
    table
}

/// What the columns of the gradients' table mean.
pub const GRADIENTS_LEGEND: &str = "\
quantity   what the gradient is taken by: the layer's input x, or a parameter
points     elements compared; in brackets those skipped, without a derivative
worst      largest relative error of the hand-written gradient
allowed    what it may be: 1e-6 in f64, what rounding explains elsewhere";

/// Gradients that were checked.
pub fn gradients(rows: impl Iterator<Item = impl std::borrow::Borrow<gradcheck::Row>>) -> Table {
    let mut table = new([
        "layer", "quantity", "device", "shape", "points", "worst", "allowed", "",
    ]);
    align_right(&mut table, 4..7);
    // The layer's name is running text and may be broken between words; nothing else may be broken.
    for column in table.column_iter_mut().skip(1) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    for row in rows {
        let row = row.borrow();
        table.add_row([
            row.layer.clone(),
            row.quantity.clone(),
            row.device.clone(),
            times(&row.shape),
            match row.skipped {
                0 => row.checked.to_string(),
                skipped => format!("{} ({skipped})", row.checked),
            },
            format!("{:.1e}", row.max_rel_error),
            format!("{:.1e}", row.tolerance),
            match row.trouble {
                None => "right",
                Some(Trouble::Wrong) => "WRONG",
                Some(Trouble::TooFewCompared) => "TOO FEW",
                Some(Trouble::LostInRounding) => "LOST",
            }
            .to_owned(),
        ]);
    }
    table
}

/// What the columns of lockstep's tables mean.
pub const LOCKSTEP_LEGEND: &str = "\
parameters   largest difference of the two devices' parameters, relative to the
             largest value of a tensor
most apart   the largest such difference of any buffer
most added   the largest error that one launch adds of itself, judged in f64
             from the inputs that the device had; by kernel under each device
of allowed   that error as a part of what rounding explains: 1 is too much";

/// How two devices come apart, step by step.
pub fn lockstep_steps(report: &Report) -> Table {
    let [one, other] = &report.devices;
    let loss = |name: &str| format!("loss {name}");
    let mut table = new([
        "step",
        &loss(one),
        &loss(other),
        "parameters",
        "most apart",
        "most added",
    ]);
    align_right(&mut table, 0..6);
    for step in &report.steps {
        table.add_row([
            step.step.to_string(),
            format!("{:.7}", step.loss[0]),
            format!("{:.7}", step.loss[1]),
            format!("{:.1e}", step.parameters_apart),
            format!("{:.1e}", step.most_apart),
            format!("{:.1e}", step.most_added),
        ]);
    }
    table
}

/// Behind which launch the devices are farthest apart in the last step, and which launch adds most.
pub fn lockstep_launches_of(step: &StepRecord) -> String {
    format!(
        "in step {}: most apart behind {}, most added by {}",
        step.step, step.most_apart_launch, step.most_added_launch
    )
}

/// What each kernel contributes, over all steps.
pub fn lockstep_kernels(report: &Report) -> Table {
    let [one, other] = &report.devices;
    let mut table = new(["kernel", "launches", one, other, "of allowed"]);
    let mut kernels: Vec<&str> = Vec::new();
    for launch in &report.launches {
        if !kernels.contains(&launch.kernel) {
            kernels.push(launch.kernel);
        }
    }
    for kernel in kernels {
        let launches = || {
            report
                .launches
                .iter()
                .filter(|launch| launch.kernel == kernel)
        };
        let most =
            |measure: &dyn Fn(&LaunchRecord) -> f64| launches().map(measure).fold(0.0, f64::max);
        table.add_row([
            kernel.to_owned(),
            launches().count().to_string(),
            format!("{:.1e}", most(&|launch| launch.added[0])),
            format!("{:.1e}", most(&|launch| launch.added[1])),
            format!(
                "{:.2}",
                most(&|launch| launch.error[0].max(launch.error[1]))
            ),
        ]);
    }
    table
}

/// The launches of a step.
pub fn lockstep_launches<'a>(
    report: &Report,
    launches: impl Iterator<Item = &'a LaunchRecord>,
) -> Table {
    let [one, other] = &report.devices;
    let mut table = new(["launch", "kernel", "shapes", one, other, "apart"]);
    keep_whole(&mut table, 1);
    for launch in launches {
        table.add_row([
            launch.launch.clone(),
            launch.kernel.to_owned(),
            launch.shapes.clone(),
            format!("{:.1e}", launch.added[0]),
            format!("{:.1e}", launch.added[1]),
            format!("{:.1e}", launch.apart),
        ]);
    }
    table
}

/// What time and its parts are called.
const FIGURES: [&str; 3] = ["µs", "ceiling", "share"];
/// What cost and rates are called, in a wide table.
const WIDE_FIGURES: [&str; 5] = ["MFLOP", "MB", "GFLOP/s", "GB/s", "FLOP/B"];

/// What the columns of trace's tables mean.
pub const TRACE_LEGEND: &str = "\
shape     m×k×n of a matrix product, else the shape of the largest operand
µs        median time
ceiling   the least time this machine could take, as a part of that time
share     part of all launches' time
--wide adds FLOPs, bytes and their rates; --json has everything.";

/// Three digits or so of a measured number: more would not repeat.
pub fn short(value: f64) -> String {
    match value {
        value if !value.is_finite() => "–".to_owned(),
        value if value == 0.0 || value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn figures(figures: &Figures, wide: bool) -> Vec<String> {
    let Figures { cost, .. } = figures;
    let mut cells = vec![
        short(1e6 * figures.seconds),
        format!("{:.0} %", figures.pct_of_ceiling),
        format!("{:.1} %", 100.0 * figures.share),
    ];
    if wide {
        cells.extend([
            short(1e-6 * cost.flops as f64),
            short(1e-6 * cost.bytes() as f64),
            short(figures.gflops),
            short(figures.gbytes_per_s),
            short(figures.intensity),
        ]);
    }
    cells
}

/// A table whose last columns are the figures.
fn with_figures(columns: &[&str], wide: bool) -> Table {
    let more = if wide { &WIDE_FIGURES[..] } else { &[] };
    let mut table = new(columns.iter().chain(&FIGURES).chain(more));
    if wide {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    for column in table.column_iter_mut().skip(columns.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Every launch of a step.
pub fn trace_launches(trace: &Trace, wide: bool) -> Table {
    let on_gpu = trace.adapter.is_some();
    let mut columns = vec!["layer", "kernel", "shape"];
    if on_gpu {
        columns.push("groups");
    }
    let mut table = with_figures(&columns, wide);
    for launch in &trace.launches {
        let mut cells = vec![shortened(&launch.layer), kernel(launch), shape(launch)];
        cells.extend(launch.groups.map(|[x, y, z]| match [y, z] {
            [1, 1] => times(&[x]),
            [_, 1] => times(&[x, y]),
            _ => times(&[x, y, z]),
        }));
        cells.extend(figures(&launch.figures, wide));
        table.add_row(cells);
    }
    table
}

/// A kernel; of a matrix product also which of a layer's three it is.
fn kernel(launch: &LaunchRow) -> String {
    let part = launch.launch.strip_prefix(&launch.layer).unwrap_or("");
    let part = part.trim_start_matches(" backward:");
    match launch.kernel {
        "gemm" => format!("gemm,{part}"),
        kernel => kernel.to_owned(),
    }
}

/// m×k×n of a product, else the shape of the largest operand.
fn shape(launch: &LaunchRow) -> String {
    match &launch.product {
        Some(product) => times(product),
        None => times(&launch.largest),
    }
}

fn times(sizes: &[impl ToString]) -> String {
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    sizes.join("×")
}

/// Sums over kernels or layers.
pub fn trace_groups(what: &str, groups: &[GroupRow], wide: bool) -> Table {
    let mut table = with_figures(&[what, "launches"], wide);
    for group in groups {
        let cells = [group.name.clone(), group.launches.to_string()];
        table.add_row(cells.into_iter().chain(figures(&group.figures, wide)));
    }
    table
}

/// What the columns of benchmarks mean.
pub const BENCHMARKS_LEGEND: &str = "\
median ms   over the rounds; --json and --csv have least and quartiles, too
ceiling     the least time this machine could take, as a part of that time";

/// Benchmarks; columns that no row fills are left out, and where `wide` is false also those that a line
/// of 80 characters has no room for.
pub fn benchmarks(rows: &[bench::Row], wide: bool) -> Table {
    type Cell = fn(&bench::Row) -> Option<String>;
    let texts: [(&str, Cell); 5] = [
        ("workload", |row| Some(row.workload.to_owned())),
        ("what", |row| row.detail.clone()),
        ("kernel", |row| Some(row.kernel.clone())),
        ("shapes", |row| row.shapes.clone()),
        ("device", |row| Some(row.device.clone())),
    ];
    let numbers: [(&str, Cell); 11] = [
        ("batch", |row| row.batch.map(|batch| batch.to_string())),
        ("median ms", |row| Some(digits(row.median_ms))),
        ("least", |row| Some(digits(row.min_ms))),
        ("quartiles", |row| {
            let [low, high] = [row.low_ms, row.high_ms].map(digits);
            Some(format!("{low} … {high}"))
        }),
        ("GFLOP/s", |row| row.gflops.map(short)),
        ("GB/s", |row| row.gbytes_per_s.map(short)),
        ("ceiling", |row| {
            row.pct_of_ceiling.map(|part| format!("{part:.0} %"))
        }),
        ("upload", |row| row.upload_ms.map(digits)),
        ("dispatch", |row| row.dispatch_ms.map(digits)),
        ("compute", |row| row.compute_ms.map(digits)),
        ("read-back", |row| row.readback_ms.map(digits)),
    ];
    // A narrow table leaves out what is the same in all rows, and lists of operands.
    let says_something = |cell: Cell| {
        let mut cells: Vec<_> = rows.iter().map(cell).collect();
        cells.dedup();
        let longest = cells
            .iter()
            .flatten()
            .map(|cell| cell.chars().count())
            .max();
        cells.len() > 1 && longest <= Some(28)
    };
    let is_shown = |&(name, cell): &(&str, Cell)| match name {
        _ if wide => true,
        "least" | "quartiles" | "GB/s" => false,
        "workload" | "device" | "shapes" => says_something(cell),
        _ => true,
    };
    let filled = |column: &&(&str, Cell)| {
        is_shown(column) && rows.iter().any(|row| (column.1)(row).is_some())
    };
    let texts: Vec<_> = texts.iter().filter(filled).collect();
    let numbers: Vec<_> = numbers.iter().filter(filled).collect();
    let mut table = new(texts.iter().chain(&numbers).map(|(name, _)| *name));
    for column in table.column_iter_mut().skip(texts.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in rows {
        let cells = texts.iter().chain(&numbers);
        table.add_row(cells.map(|(_, cell)| cell(row).unwrap_or_default()));
    }
    table
}

/// A positive number to three significant digits, however small: milliseconds of a launch.
fn digits(value: f64) -> String {
    let before = value.log10().floor() as i32 + 1;
    format!("{value:.*}", (3 - before).clamp(0, 6) as usize)
}

/// A layer's name in a column that leaves room for the numbers.
fn shortened(layer: &str) -> String {
    const MOST: usize = 10;
    if layer.chars().count() <= MOST {
        return layer.to_owned();
    }
    let kept = layer.chars().take(MOST - 1);
    kept.chain(['…']).collect()
}

/// Running text in lines of at most 80 characters.
pub fn wrapped(text: &str) -> String {
    textwrap::fill(text, usize::from(WIDTH))
}
