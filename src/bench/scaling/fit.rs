//! Power laws.

use serde::Serialize;

/// y = factor · x^exponent
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Power {
    /// Slope on a log–log chart.
    pub exponent: f64,
    /// y at x = 1.
    pub factor: f64,
}

impl Power {
    /// y at x.
    pub fn at(self, x: f64) -> f64 {
        self.factor * x.powf(self.exponent)
    }
}

/// The power of x that fits the points (x, y) best: least squares of ln y on ln x. None for fewer than
/// two different x; points that have no logarithm are left out.
pub fn power(points: &[(f64, f64)]) -> Option<Power> {
    let positive = points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0);
    let logs: Vec<(f64, f64)> = positive.map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = |value: &dyn Fn(&(f64, f64)) -> f64| logs.iter().map(value).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(&|p| p.0), mean(&|p| p.1));
    let variance = mean(&|p| (p.0 - mean_x).powi(2));
    if variance.is_nan() || variance <= 0.0 {
        return None;
    }
    let exponent = mean(&|p| (p.0 - mean_x) * (p.1 - mean_y)) / variance;
    Some(Power {
        exponent,
        factor: (mean_y - exponent * mean_x).exp(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_is_found_and_what_has_no_logarithm_is_left_out() {
        let mut points: Vec<(f64, f64)> =
            [1.0, 3.0, 20.0].map(|x: f64| (x, 5.0 * x.powf(1.5))).into();
        points.push((7.0, 0.0));
        let found = power(&points).expect("three points");
        assert!((found.exponent - 1.5).abs() < 1e-12 && (found.factor - 5.0).abs() < 1e-9);
        assert!((found.at(4.0) - 40.0).abs() < 1e-9);
    }

    #[test]
    fn two_different_sizes_are_needed() {
        assert_eq!(power(&[]), None);
        assert_eq!(power(&[(2.0, 1.0), (2.0, 3.0)]), None);
    }
}
