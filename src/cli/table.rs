//! Tables on standard output.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use diabolo::bench;
use diabolo::evaluate::{Denoising, K, Row};
use diabolo::gradcheck::{self, Trouble};
use diabolo::lockstep::{LaunchRecord, Report};

/// A rule above, below and under the header; nothing between the rows.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// An empty table with this header.
pub fn new<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

/// Few-label accuracies in percent.
pub fn few_label(rows: &[Row]) -> Table {
    let percent = |value: f64| format!("{:.2}", 100.0 * value);
    let mut table = new([
        "labels",
        "draws",
        "k",
        "distance",
        "pixels %",
        "features %",
        "gain",
        "95 % interval",
    ]);
    for column in [0, 1, 4, 5, 6, 7] {
        let column = table.column_mut(column).expect("there are eight");
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in rows {
        let spread = |mean, sd| match row.draws {
            1 => percent(mean),
            _ => format!("{} ± {}", percent(mean), percent(sd)),
        };
        table.add_row([
            row.labels.to_string(),
            row.draws.to_string(),
            match row.k {
                K::Fixed(k) => k.to_string(),
                K::Chosen => "chosen".to_owned(),
            },
            row.distance.to_owned(),
            spread(row.raw.mean, row.raw.sd),
            spread(row.features.mean, row.features.sd),
            format!("{:+.2}", 100.0 * row.gain.mean),
            match row.gain.ci95 {
                Some([low, high]) => format!("{:+.2} … {:+.2}", 100.0 * low, 100.0 * high),
                None => "–".to_owned(),
            },
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
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
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

/// Gradients that were checked.
pub fn gradients(rows: impl Iterator<Item = impl std::borrow::Borrow<gradcheck::Row>>) -> Table {
    let mut table = new([
        "layer", "quantity", "device", "shape", "points", "skipped", "worst", "allowed", "where",
        "",
    ]);
    for column in [4, 5, 6, 7] {
        let column = table.column_mut(column).expect("there are ten");
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in rows {
        let row = row.borrow();
        table.add_row([
            row.layer.clone(),
            row.quantity.clone(),
            row.device.clone(),
            format!("{:?}", row.shape),
            row.checked.to_string(),
            row.skipped.to_string(),
            format!("{:.1e}", row.max_rel_error),
            format!("{:.1e}", row.tolerance),
            row.worst
                .as_ref()
                .map_or(String::new(), |worst| format!("{:?}", worst.index)),
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

/// How two devices come apart, step by step.
pub fn lockstep_steps(report: &Report) -> Table {
    let [one, other] = &report.devices;
    let loss = |name: &str| format!("loss {name}");
    let mut table = new([
        "step",
        &loss(one),
        &loss(other),
        "parameters apart",
        "most apart",
        "behind",
        "most added",
        "by",
    ]);
    for step in &report.steps {
        table.add_row([
            step.step.to_string(),
            format!("{:.7}", step.loss[0]),
            format!("{:.7}", step.loss[1]),
            format!("{:.1e}", step.parameters_apart),
            format!("{:.1e}", step.most_apart),
            step.most_apart_launch.clone(),
            format!("{:.1e}", step.most_added),
            step.most_added_launch.clone(),
        ]);
    }
    table
}

/// What each kernel contributes, over all steps.
pub fn lockstep_kernels(report: &Report) -> Table {
    let [one, other] = &report.devices;
    let mut table = new([
        "kernel",
        "launches",
        &format!("added on {one}"),
        &format!("added on {other}"),
        "part of what is allowed",
    ]);
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
    let mut table = new([
        "launch",
        "kernel",
        "shapes",
        &format!("added on {one}"),
        &format!("added on {other}"),
        "apart",
    ]);
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

/// Benchmarks; columns that no row fills are left out.
pub fn benchmarks(rows: &[bench::Row]) -> Table {
    type Column = (&'static str, bool, fn(&bench::Row) -> String);
    let columns: [Column; 16] = [
        ("workload", false, |row| row.workload.to_owned()),
        ("what", false, |row| row.detail.clone().unwrap_or_default()),
        ("kernel", false, |row| row.kernel.clone()),
        ("shapes", false, |row| {
            row.shapes.clone().unwrap_or_default()
        }),
        ("device", false, |row| row.device.clone()),
        ("batch", true, |row| or_empty(row.batch.as_ref())),
        ("median ms", true, |row| digits(row.median_ms)),
        ("least", true, |row| digits(row.min_ms)),
        ("quartiles", true, |row| {
            format!("{} … {}", digits(row.low_ms), digits(row.high_ms))
        }),
        ("GFLOP/s", true, |row| {
            or_empty(row.gflops.map(digits).as_ref())
        }),
        ("GB/s", true, |row| {
            or_empty(row.gbytes_per_s.map(digits).as_ref())
        }),
        ("% of ceiling", true, |row| {
            or_empty(row.pct_of_ceiling.map(|part| format!("{part:.0}")).as_ref())
        }),
        ("upload", true, |row| {
            or_empty(row.upload_ms.map(digits).as_ref())
        }),
        ("dispatch", true, |row| {
            or_empty(row.dispatch_ms.map(digits).as_ref())
        }),
        ("compute", true, |row| {
            or_empty(row.compute_ms.map(digits).as_ref())
        }),
        ("read-back", true, |row| {
            or_empty(row.readback_ms.map(digits).as_ref())
        }),
    ];
    let filled = |column: &Column| rows.iter().any(|row| !(column.2)(row).is_empty());
    let columns: Vec<Column> = columns.into_iter().filter(filled).collect();
    let mut table = new([]);
    table.set_header(columns.iter().map(|(name, ..)| *name));
    for (column, (_, right, _)) in table.column_iter_mut().zip(&columns) {
        if *right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in rows {
        table.add_row(columns.iter().map(|(.., cell)| cell(row)));
    }
    table
}

fn or_empty(value: Option<&impl ToString>) -> String {
    value.map_or(String::new(), ToString::to_string)
}

/// A positive number to three significant digits.
fn digits(value: f64) -> String {
    let before = value.log10().floor() as i32 + 1;
    format!("{value:.*}", (3 - before).clamp(0, 6) as usize)
}
