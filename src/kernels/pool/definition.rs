//! The definition: one element of one image at a time, in f64.
//!
//! Places before an image are taken modulo 2⁶⁴, so that `h >= height` holds in the padding on both sides.

use crate::kernels::Window;

/// `y[oh, ow, c]` and `argmax[oh, ow, c]` of maximum pooling.
pub fn maximum(
    window: &Window,
    x: &[f64],
    channels: usize,
    [oh, ow, c]: [usize; 3],
) -> (f64, usize) {
    let [height, width] = window.size;
    let mut largest: Option<(f64, usize)> = None;
    for kh in 0..window.kernel[0] {
        for kw in 0..window.kernel[1] {
            let h =
                (oh * window.stride[0] + kh * window.dilation[0]).wrapping_sub(window.padding[0]);
            let w =
                (ow * window.stride[1] + kw * window.dilation[1]).wrapping_sub(window.padding[1]);
            if h >= height || w >= width {
                continue;
            }
            let value = x[(h * width + w) * channels + c];
            if largest.is_none_or(|(y, _)| value > y || (value.is_nan() && !y.is_nan())) {
                largest = Some((value, kh * window.kernel[1] + kw));
            }
        }
    }
    largest.expect("a pooling window sees a pixel")
}

/// `dx[h, w, c]` of maximum pooling.
pub fn maximum_backward(
    window: &Window,
    argmax: &[u32],
    dy: &[f64],
    channels: usize,
    [h, w, c]: [usize; 3],
) -> f64 {
    let [map_height, map_width] = window.map();
    let mut dx = 0.0;
    for oh in 0..map_height {
        for ow in 0..map_width {
            let at = (oh * map_width + ow) * channels + c;
            let tap = argmax[at] as usize;
            let (kh, kw) = (tap / window.kernel[1], tap % window.kernel[1]);
            let down = oh * window.stride[0] + kh * window.dilation[0];
            let across = ow * window.stride[1] + kw * window.dilation[1];
            if [down, across] == [h + window.padding[0], w + window.padding[1]] {
                dx += dy[at];
            }
        }
    }
    dx
}

/// `y[oh, ow, c]` of average pooling.
pub fn average(window: &Window, x: &[f64], channels: usize, [oh, ow, c]: [usize; 3]) -> f64 {
    let [height, width] = window.size;
    let mut sum = 0.0;
    for kh in 0..window.kernel[0] {
        for kw in 0..window.kernel[1] {
            let h =
                (oh * window.stride[0] + kh * window.dilation[0]).wrapping_sub(window.padding[0]);
            let w =
                (ow * window.stride[1] + kw * window.dilation[1]).wrapping_sub(window.padding[1]);
            if h < height && w < width {
                sum += x[(h * width + w) * channels + c];
            }
        }
    }
    sum / (window.kernel[0] * window.kernel[1]) as f64
}

/// `dx[h, w, c]` of average pooling.
pub fn average_backward(
    window: &Window,
    dy: &[f64],
    channels: usize,
    [h, w, c]: [usize; 3],
) -> f64 {
    let [map_height, map_width] = window.map();
    let mut sum = 0.0;
    for kh in 0..window.kernel[0] {
        for kw in 0..window.kernel[1] {
            let down = (h + window.padding[0]).wrapping_sub(kh * window.dilation[0]);
            let across = (w + window.padding[1]).wrapping_sub(kw * window.dilation[1]);
            let (oh, ow) = (down / window.stride[0], across / window.stride[1]);
            let on_a_window =
                down.is_multiple_of(window.stride[0]) && across.is_multiple_of(window.stride[1]);
            if on_a_window && oh < map_height && ow < map_width {
                sum += dy[(oh * map_width + ow) * channels + c];
            }
        }
    }
    sum / (window.kernel[0] * window.kernel[1]) as f64
}
