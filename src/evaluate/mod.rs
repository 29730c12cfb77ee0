//! Evaluation: are the features better than the pixels they were learnt from?

mod few_label;
mod search;
mod vote;

pub use few_label::{FewLabel, FewLabelError, Gain, K, Labels, Pair, Row, Spread, few_label};
pub use search::{Distance, Draws, Found, Search};
pub use vote::majority;

use crate::data::Images;
use crate::recipe::Normalise;

/// Rows of reals: images as pixels, or their features.
pub trait Rows: Sync {
    /// How many.
    fn count(&self) -> usize;
    /// Values in each.
    fn width(&self) -> usize;
    /// Copies row `index` into `row`.
    fn copy(&self, index: usize, row: &mut [f32]);
}

impl Rows for Images {
    fn count(&self) -> usize {
        self.count
    }

    fn width(&self) -> usize {
        self.features()
    }

    fn copy(&self, index: usize, row: &mut [f32]) {
        self.row_f32(index, row);
    }
}

/// Features, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Features per row.
    pub width: usize,
    /// `[count, width]`
    pub values: Vec<f32>,
}

impl Rows for Features {
    fn count(&self) -> usize {
        self.values.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn copy(&self, index: usize, row: &mut [f32]) {
        row.copy_from_slice(&self.values[index * self.width..][..self.width]);
    }
}

/// Normalises two sets of features by the statistics of the first: no label and no test image is
/// looked at.
pub fn normalise(how: Normalise, train: &mut Features, test: &mut Features) {
    if how == Normalise::None {
        return;
    }
    let (width, count) = (train.width, train.count() as f64);
    let mut mean = vec![0.0f64; width];
    for row in train.values.chunks_exact(width) {
        for (mean, &value) in mean.iter_mut().zip(row) {
            *mean += f64::from(value) / count;
        }
    }
    let mut variance = vec![0.0f64; width];
    for row in train.values.chunks_exact(width) {
        for ((variance, &mean), &value) in variance.iter_mut().zip(&mean).zip(row) {
            *variance += (f64::from(value) - mean).powi(2) / count;
        }
    }
    let scale = |variance: f64| match how {
        // A feature that never varies says nothing, whatever it is divided by.
        Normalise::Standardise if variance > 0.0 => 1.0 / variance.sqrt(),
        _ => 1.0,
    };
    for features in [train, test] {
        for row in features.values.chunks_exact_mut(width) {
            for ((value, &mean), &variance) in row.iter_mut().zip(&mean).zip(&variance) {
                *value = ((f64::from(*value) - mean) * scale(variance)) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(values: &[f32]) -> Features {
        Features {
            width: 2,
            values: values.to_vec(),
        }
    }

    #[test]
    fn standardising_uses_the_statistics_of_the_training_features_alone() {
        let mut train = features(&[0.0, 5.0, 2.0, 5.0]);
        let mut test = features(&[3.0, 6.0]);
        normalise(Normalise::Standardise, &mut train, &mut test);
        assert_eq!(train.values, [-1.0, 0.0, 1.0, 0.0]);
        assert_eq!(test.values, [2.0, 1.0]);
    }

    #[test]
    fn centring_keeps_the_scale() {
        let mut train = features(&[0.0, 5.0, 2.0, 5.0]);
        let mut test = features(&[4.0, 6.0]);
        normalise(Normalise::Centre, &mut train, &mut test);
        assert_eq!(train.values, [-1.0, 0.0, 1.0, 0.0]);
        assert_eq!(test.values, [3.0, 1.0]);
    }
}
