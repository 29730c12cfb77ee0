//! The definition: one pixel, in f64.

use std::f64::consts::TAU;

use super::Warp;

/// A and t, of the image's five uniform numbers from −1 to 1: rotation, scale, shear, shift down and
/// across.
pub fn map(warp: &Warp, u: [f64; 5]) -> ([[f64; 2]; 2], [f64; 2]) {
    let (sin, cos) = (u[0] * f64::from(warp.rotation) * TAU).sin_cos();
    let s = 1.0 + u[1] * f64::from(warp.scale);
    let k = u[2] * f64::from(warp.shear);
    let t = [u[3], u[4]].map(|u| u * f64::from(warp.shift));
    ([[s * cos, s * sin], [k - s * sin, s * cos]], t)
}

/// Channel c of a distorted image `[height, width, channels]` at row h and column w.
pub fn warped(
    image: &[f64],
    [height, width, channels]: [usize; 3],
    (a, t): ([[f64; 2]; 2], [f64; 2]),
    [h, w, c]: [usize; 3],
) -> f64 {
    let centre = [height, width].map(|side| 0.5 * (side as f64 - 1.0));
    let (y, x) = (h as f64 - centre[0], w as f64 - centre[1]);
    let down = a[0][0] * y + a[0][1] * x + t[0] + centre[0];
    let across = a[1][0] * y + a[1][1] * x + t[1] + centre[1];
    let mut value = 0.0;
    for row in 0..height {
        for col in 0..width {
            let shares = (1.0 - (down - row as f64).abs()).max(0.0)
                * (1.0 - (across - col as f64).abs()).max(0.0);
            value += shares * image[(row * width + col) * channels + c];
        }
    }
    value
}
