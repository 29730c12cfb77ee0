//! Tables on standard output.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use diabolo::evaluate::{Denoising, K, Row};

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
