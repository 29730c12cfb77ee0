//! Measurements: one row per value, and what is computed from the rows.

use std::path::Path;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::files::{FileError, write_atomically};

/// One measured value of an experiment: a row of `measurements.csv`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// What was trained: the recipe's name.
    pub system: String,
    /// The seed it was trained with.
    pub seed: u64,
    /// The fold of a cross-validation; none if there is one training and one test set.
    pub fold: Option<usize>,
    /// What was judged: `pixels`, `features`, …
    pub representation: String,
    /// How it was judged, and by which measure: `knn-1-cosine`, `psnr-0.5`, …
    pub judge: String,
    /// Labelled images that the judge saw; none if it needs no labels.
    pub labels: Option<usize>,
    /// Which draw of labelled images it saw, from 0; none if it needs no labels.
    pub draw: Option<usize>,
    /// What came out: for a classifier, the part of the test images that it gets right.
    pub value: f64,
}

/// What the values of an experiment have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The recipe's name.
    pub system: String,
    /// The seed.
    pub seed: u64,
    /// The fold of a cross-validation.
    pub fold: Option<usize>,
}

impl Origin {
    /// A value that no labels were needed for.
    pub fn measured(
        &self,
        representation: impl Into<String>,
        judge: impl Into<String>,
        value: f64,
    ) -> Measurement {
        Measurement {
            system: self.system.clone(),
            seed: self.seed,
            fold: self.fold,
            representation: representation.into(),
            judge: judge.into(),
            labels: None,
            draw: None,
            value,
        }
    }
}

/// The columns of a table of measurements: the fields of [`Measurement`].
const HEADER: [&str; 8] = [
    "system",
    "seed",
    "fold",
    "representation",
    "judge",
    "labels",
    "draw",
    "value",
];

/// Writes a header and the rows as CSV, whole or not at all.
///
/// # Errors
///
/// [`FileError`] if the file cannot be written.
pub fn write_csv(path: &Path, rows: &[Measurement]) -> Result<(), FileError> {
    write_atomically(path, |writer| {
        let mut writer = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(writer);
        // By hand, for a table without rows has a header too.
        writer.write_record(HEADER).map_err(std::io::Error::other)?;
        for row in rows {
            writer.serialize(row).map_err(std::io::Error::other)?;
        }
        writer.flush()
    })
}

/// Mean and standard deviation over the draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation (n − 1); 0 for a single draw.
    pub sd: f64,
}

impl Spread {
    /// Of some values.
    pub fn of(values: &[f64]) -> Spread {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = if values.len() > 1 {
            (squares / (count - 1.0)).sqrt()
        } else {
            0.0
        };
        Spread { mean, sd }
    }
}

/// Paired difference of two representations' values, draw by draw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gain {
    /// Mean.
    pub mean: f64,
    /// Student's 95 % confidence interval of the mean; none for a single draw.
    pub ci95: Option<[f64; 2]>,
}

impl Gain {
    /// Of `values` over `baseline`, which are of the same draws in the same order.
    pub fn of(values: &[f64], baseline: &[f64]) -> Gain {
        assert_eq!(values.len(), baseline.len(), "a gain is paired");
        let pairs = values.iter().zip(baseline);
        let differences: Vec<f64> = pairs.map(|(value, base)| value - base).collect();
        let Spread { mean, sd } = Spread::of(&differences);
        let count = differences.len() as f64;
        let ci95 = (differences.len() > 1).then(|| {
            let student =
                StudentsT::new(0.0, 1.0, count - 1.0).expect("positive degrees of freedom");
            let half = student.inverse_cdf(0.975) * sd / count.sqrt();
            [mean - half, mean + half]
        });
        Gain { mean, ci95 }
    }
}

/// One representation, judged in one way from so many labels: what all its draws say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// How it was judged.
    pub judge: String,
    /// Labelled images.
    pub labels: usize,
    /// Draws of them.
    pub draws: usize,
    /// What was judged.
    pub representation: String,
    /// Mean of the values.
    pub mean: f64,
    /// Their standard deviation (n − 1); 0 for a single draw.
    pub sd: f64,
    /// Over `pixels`, judged in the same way from the same draws; none if those were not judged, and
    /// for `pixels` itself.
    pub gain: Option<Gain>,
}

/// The representation that the others are compared with.
pub const BASELINE: &str = "pixels";

/// Summarises the rows that have labels, in the order of their first appearance by numbers of labels,
/// judges and representations.
pub fn summarise(measurements: &[Measurement]) -> Vec<Row> {
    let labelled = || measurements.iter().filter(|row| row.labels.is_some());
    let mut labels: Vec<usize> = labelled().filter_map(|row| row.labels).collect();
    labels.sort_unstable();
    labels.dedup();
    let judges = distinct(labelled().map(|row| row.judge.as_str()));
    let representations = distinct(labelled().map(|row| row.representation.as_str()));
    let mut rows = Vec::new();
    for &labels in &labels {
        for judge in &judges {
            let values = |representation: &str| -> Vec<f64> {
                let rows = labelled().filter(|row| {
                    row.labels == Some(labels)
                        && row.judge == *judge
                        && row.representation == representation
                });
                rows.map(|row| row.value).collect()
            };
            let baseline = values(BASELINE);
            for &representation in &representations {
                let values = values(representation);
                if values.is_empty() {
                    continue;
                }
                let Spread { mean, sd } = Spread::of(&values);
                let is_comparable = representation != BASELINE && baseline.len() == values.len();
                rows.push(Row {
                    judge: (*judge).to_owned(),
                    labels,
                    draws: values.len(),
                    representation: representation.to_owned(),
                    mean,
                    sd,
                    gain: is_comparable.then(|| Gain::of(&values, &baseline)),
                });
            }
        }
    }
    rows
}

/// Each of some words once, in the order of their first appearance.
fn distinct<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for word in words {
        if !distinct.contains(&word) {
            distinct.push(word);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gain_is_paired_and_its_interval_is_students() {
        let (raw, features) = ([0.1, 0.5, 0.9], [0.2, 0.7, 1.2]);
        let gain = Gain::of(&features, &raw);
        assert!((gain.mean - 0.2).abs() < 1e-12);
        // sd 0.1, t(0.975, 2) = 4.302653
        let half = 4.302_653 * 0.1 / 3f64.sqrt();
        let [low, high] = gain.ci95.expect("three draws");
        assert!((low - (0.2 - half)).abs() < 1e-6 && (high - (0.2 + half)).abs() < 1e-6);
    }

    #[test]
    fn a_single_draw_has_no_interval() {
        assert_eq!(Gain::of(&[0.75], &[0.5]).ci95, None);
    }

    fn row(representation: &str, labels: Option<usize>, draw: usize, value: f64) -> Measurement {
        Measurement {
            system: "mnist-dense".to_owned(),
            seed: 7,
            fold: None,
            representation: representation.to_owned(),
            judge: "knn-1-cosine".to_owned(),
            labels,
            draw: labels.map(|_| draw),
            value,
        }
    }

    #[test]
    fn rows_are_summarised_by_labels_judge_and_representation() {
        let rows = [
            row("pixels", Some(50), 0, 0.5),
            row("pixels", Some(50), 1, 0.7),
            row("features", Some(50), 0, 0.6),
            row("features", Some(50), 1, 1.0),
            row("restored", None, 0, 20.0),
            row("pixels", Some(20), 0, 0.25),
        ];
        let summary = summarise(&rows);
        assert_eq!(summary.len(), 3, "{summary:?}");
        assert_eq!((summary[0].labels, summary[0].mean), (20, 0.25));
        assert_eq!((summary[1].draws, summary[1].gain), (2, None));
        let gain = summary[2].gain.expect("over the same draws of pixels");
        assert!((gain.mean - 0.2).abs() < 1e-12, "{gain:?}");
    }

    #[test]
    fn the_file_has_a_column_for_each_field_and_nothing_where_there_is_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("measurements.csv");
        let rows = [
            row("pixels", Some(20), 3, 0.25),
            row("restored", None, 0, 21.5),
        ];
        write_csv(&path, &rows).expect("written");
        let text = std::fs::read_to_string(&path).expect("read");
        assert_eq!(
            text,
            "system,seed,fold,representation,judge,labels,draw,value\n\
             mnist-dense,7,,pixels,knn-1-cosine,20,3,0.25\n\
             mnist-dense,7,,restored,knn-1-cosine,,,21.5\n"
        );
        write_csv(&path, &[]).expect("written");
        let header = std::fs::read_to_string(&path).expect("read");
        assert!(text.starts_with(&header) && header.ends_with(",value\n"));
    }
}
