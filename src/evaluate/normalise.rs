//! Normalising features by the statistics of the unlabelled training images.

use nalgebra::{DMatrix, SymmetricEigen};

use crate::recipe::Normalise;

use super::{Features, Rows};

/// Normalises two sets of features by the statistics of the first: no label and no test image is
/// looked at.
pub fn normalise(how: Normalise, train: &mut Features, test: &mut Features) {
    if how == Normalise::None {
        return;
    }
    let mean = mean(train);
    let map = match how {
        Normalise::None | Normalise::Centre => None,
        Normalise::Standardise => {
            let covariance = covariance(train, &mean);
            let scales = covariance.diagonal().map(|variance| power(variance, -0.5));
            Some(DMatrix::from_diagonal(&scales))
        }
        Normalise::HalfWhiten => {
            let eigen = SymmetricEigen::new(covariance(train, &mean));
            let scales = eigen.eigenvalues.map(|variance| power(variance, -0.25));
            Some(eigen.eigenvectors * DMatrix::from_diagonal(&scales))
        }
    };
    for features in [train, test] {
        let mut centred = vec![0.0; features.width];
        for row in features.values.chunks_exact_mut(mean.len()) {
            for ((centred, &value), mean) in centred.iter_mut().zip(&*row).zip(&mean) {
                *centred = f64::from(value) - mean;
            }
            match &map {
                None => row
                    .iter_mut()
                    .zip(&centred)
                    .for_each(|(x, &c)| *x = c as f32),
                Some(map) => {
                    for (value, column) in row.iter_mut().zip(map.column_iter()) {
                        let terms = column.iter().zip(&centred);
                        *value = terms.map(|(m, c)| m * c).sum::<f64>() as f32;
                    }
                }
            }
        }
    }
}

/// A power of a variance; 1 for a direction in which nothing varies (up to rounding), which says
/// nothing, whatever it is divided by.
fn power(variance: f64, exponent: f64) -> f64 {
    if variance > 1e-12 {
        variance.powf(exponent)
    } else {
        1.0
    }
}

fn mean(features: &Features) -> Vec<f64> {
    let mut mean = vec![0.0; features.width];
    for row in features.values.chunks_exact(features.width) {
        for (mean, &value) in mean.iter_mut().zip(row) {
            *mean += f64::from(value);
        }
    }
    let count = features.count() as f64;
    mean.iter_mut().for_each(|mean| *mean /= count);
    mean
}

fn covariance(features: &Features, mean: &[f64]) -> DMatrix<f64> {
    let mut sums = DMatrix::zeros(features.width, features.width);
    let mut centred = vec![0.0; features.width];
    for row in features.values.chunks_exact(features.width) {
        for ((centred, &value), mean) in centred.iter_mut().zip(row).zip(mean) {
            *centred = f64::from(value) - mean;
        }
        for (j, &right) in centred.iter().enumerate() {
            for (sum, &left) in sums.column_mut(j).iter_mut().zip(&centred) {
                *sum += left * right;
            }
        }
    }
    sums / features.count() as f64
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
    fn half_whitening_leaves_uncorrelated_features_whose_deviations_are_square_roots() {
        // Two independent directions of deviation 4 and 1, turned by 45 degrees.
        let turned = |a: f32, b: f32| [(a - b) * 0.5f32.sqrt(), (a + b) * 0.5f32.sqrt()];
        let corners = [(4.0, 1.0), (4.0, -1.0), (-4.0, 1.0), (-4.0, -1.0)];
        let values: Vec<f32> = corners.iter().flat_map(|&(a, b)| turned(a, b)).collect();
        let mut train = features(&values);
        let mut test = train.clone();
        normalise(Normalise::HalfWhiten, &mut train, &mut test);
        assert_eq!(train, test);
        let covariance = covariance(&train, &[0.0, 0.0]);
        let mut deviations = [covariance[(0, 0)].sqrt(), covariance[(1, 1)].sqrt()];
        deviations.sort_by(f64::total_cmp);
        assert!((deviations[0] - 1.0).abs() < 1e-6 && (deviations[1] - 2.0).abs() < 1e-6);
        assert!(covariance[(0, 1)].abs() < 1e-6);
    }

    #[test]
    fn a_feature_that_never_varies_stays_finite() {
        for how in [Normalise::Standardise, Normalise::HalfWhiten] {
            let mut train = features(&[0.0, 5.0, 2.0, 5.0]);
            let mut test = features(&[1.0, 5.0]);
            normalise(how, &mut train, &mut test);
            assert!(
                train
                    .values
                    .iter()
                    .chain(&test.values)
                    .all(|value| value.is_finite())
            );
        }
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
