//! The definition: one row, one pair or one list at a time, in f64.

use super::Distance;

/// |x|²
pub fn squared_norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

/// Of a dot product and both rows' squared norms.
pub fn distance(distance: Distance, dot: f64, q: f64, r: f64) -> f64 {
    match distance {
        Distance::Euclidean => (q - 2.0 * dot + r).max(0.0),
        Distance::Cosine if q == 0.0 || r == 0.0 => 1.0,
        Distance::Cosine => 1.0 - dot / (q.sqrt() * r.sqrt()),
    }
}

/// The k nearest of (distance, index), the lower index first where two are equally near.
pub fn nearest(all: &[(f64, u32)], k: usize) -> Vec<(f64, u32)> {
    let mut sorted = all.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    sorted.truncate(k);
    sorted
}

/// |ρ|: what of a row is outside of the directions, of its parts along them and its squared norm, which is
/// taken larger by `slack`.
pub fn residual(inside: &[f64], squared: f64, slack: f64) -> f64 {
    ((squared - squared_norm(inside)).max(0.0) + slack * squared).sqrt()
}
