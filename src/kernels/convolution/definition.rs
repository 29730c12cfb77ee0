//! The definition: one element at a time, in f64.
//!
//! Of the forward map and the data gradient, x, y, dx and dy are one image; of the weight gradient, all.
//! Places before an image are taken modulo 2⁶⁴, so that `h >= height` holds in the padding on both sides.

use std::ops::Range;

use crate::kernels::Window;

/// `y[oh, ow, m]` before bias and activation.
pub fn forward(
    window: &Window,
    x: &[f64],
    weight: &[f64],
    [channels, maps]: [usize; 2],
    [oh, ow, m]: [usize; 3],
) -> f64 {
    let [height, width] = window.size;
    let mut y = 0.0;
    for kh in 0..window.kernel[0] {
        for kw in 0..window.kernel[1] {
            let h =
                (oh * window.stride[0] + kh * window.dilation[0]).wrapping_sub(window.padding[0]);
            let w =
                (ow * window.stride[1] + kw * window.dilation[1]).wrapping_sub(window.padding[1]);
            if h >= height || w >= width {
                continue;
            }
            let tap = kh * window.kernel[1] + kw;
            for c in 0..channels {
                y += x[(h * width + w) * channels + c] * weight[(tap * channels + c) * maps + m];
            }
        }
    }
    y
}

/// `dx[h, w, c]`: every window that saw the pixel, through the tap that saw it.
pub fn data_gradient(
    window: &Window,
    dy: &[f64],
    weight: &[f64],
    [channels, maps]: [usize; 2],
    [h, w, c]: [usize; 3],
) -> f64 {
    let [map_height, map_width] = window.map();
    let mut dx = 0.0;
    for kh in 0..window.kernel[0] {
        for kw in 0..window.kernel[1] {
            let down = (h + window.padding[0]).wrapping_sub(kh * window.dilation[0]);
            let across = (w + window.padding[1]).wrapping_sub(kw * window.dilation[1]);
            let (oh, ow) = (down / window.stride[0], across / window.stride[1]);
            let on_a_window =
                down.is_multiple_of(window.stride[0]) && across.is_multiple_of(window.stride[1]);
            if !on_a_window || oh >= map_height || ow >= map_width {
                continue;
            }
            let tap = kh * window.kernel[1] + kw;
            for m in 0..maps {
                dx +=
                    dy[(oh * map_width + ow) * maps + m] * weight[(tap * channels + c) * maps + m];
            }
        }
    }
    dx
}

/// `d_weight[kh, kw, c, m]`, of some rows of dy: windows of all images, one after the other.
pub fn weight_gradient(
    window: &Window,
    x: &[f64],
    dy: &[f64],
    rows: Range<usize>,
    [channels, maps]: [usize; 2],
    [kh, kw, c, m]: [usize; 4],
) -> f64 {
    let [height, width] = window.size;
    let [map_height, map_width] = window.map();
    let mut d_weight = 0.0;
    for row in rows {
        let image = row / (map_height * map_width);
        let (oh, ow) = (row / map_width % map_height, row % map_width);
        let h = (oh * window.stride[0] + kh * window.dilation[0]).wrapping_sub(window.padding[0]);
        let w = (ow * window.stride[1] + kw * window.dilation[1]).wrapping_sub(window.padding[1]);
        if h < height && w < width {
            let pixel = (image * height + h) * width + w;
            d_weight += x[pixel * channels + c] * dy[row * maps + m];
        }
    }
    d_weight
}
