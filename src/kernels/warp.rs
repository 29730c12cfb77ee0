//! Warp: a small random affine distortion of an image about its centre, part of [`super::gather`].
//!
//! ```text
//! warped[y, x] = image at   A·(y, x) + t        coordinates from the centre, zeros outside
//!
//! A = | s cos φ        s sin φ |       φ  uniform in ± rotation      s  uniform in 1 ± scale
//!     | k − s sin φ    s cos φ |       k  uniform in ± shear         t  uniform in ± shift, twice
//! ```
//! Values between pixels are interpolated linearly in both directions. As noise it is what masking
//! is: something the code should not depend on, and that the network must undo.
//!
//! # Rounding
//! Every device computes the coordinates in f32, and devices round differently: some fuse multiply and
//! add, some reorder sums. How far their pixels may then differ is derived here; ε is 2⁻²⁴, the unit
//! roundoff, and σ, k, τ are the ranges of scale, shear and shift, so that each entry of A is of size
//! a = 1 + σ + k at most.
//!
//! ```text
//! uniforms               0           multiples of 2⁻²³ from −1 to 1
//! φ, in turns            0.75 ε      product with the range, below ¼; where negative, sum with 1
//! φ, in radians          6 ε         2π times that; product with π/2, at most π/4
//! sin φ, cos φ           8 ε         that, and 2 ε of the polynomials
//! s                      (1 + σ) ε   a product, a sum
//! entries of A           12 a ε      8 of sin or cos, 1 of s, 1 of their product; 2 of k
//! t                      τ ε         a product
//! A·(y, x) + t + centre  4 ε S       and what those bring along: each of the four terms passes through
//!                                    a product and three sums at most; S = a·(|y| + |x|) + τ + centre
//!                                    is as large as they are together, at least
//! ```
//! So a coordinate is within 16 ε S of what it would be without rounding, and two devices' coordinates
//! differ by at most d = 32 ε S. A value between pixels is continuous in both coordinates and piecewise
//! linear in each; no slope exceeds the largest difference L between neighbouring pixels, down or
//! across, of the cells within d, with zeros outside the image. Hence, also where a device falls into
//! the next cell,
//!
//! ```text
//! |difference of warped[y, x]| ≤ d_y·L_y + d_x·L_x
//! ```
//! The pixels' shares are rounded too, but relative to themselves, as the terms of any sum are.
//!
//! Source: Simard, Steinkraus and Platt, “Best practices for convolutional neural networks applied to
//! visual document analysis” (2003).

pub mod definition;

use super::random::{philox, sin_cos_turn, whole};
use crate::image::ImageShape;
use crate::scalar::{EPSILON, Scalar};

/// Ranges that the distortion of each image is drawn from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Warp {
    /// Pixels.
    pub shift: f32,
    /// Turns (1 is a whole one), below a quarter.
    pub rotation: f32,
    /// Relative.
    pub scale: f32,
    /// Columns per row.
    pub shear: f32,
}

/// One image's distortion: row by row, what y, x and 1 contribute to a coordinate of the source.
type Map = [[f32; 3]; 2];

impl Warp {
    /// Whether it leaves images as they are.
    pub fn is_none(&self) -> bool {
        *self == Warp::default()
    }

    /// The distortion of row `row` of the batch at a step.
    pub(super) fn draw(&self, row: usize, step: u32, stream: u32, key: [u32; 2]) -> Map {
        let [turn, scale, shear, down, across] = uniforms(row, step, stream, key);
        let turn = turn * self.rotation;
        let (sin, cos) = sin_cos_turn(if turn < 0.0 { turn + 1.0 } else { turn });
        let scale = 1.0 + scale * self.scale;
        let shear = shear * self.shear;
        let [down, across] = [down, across].map(|u| u * self.shift);
        [
            [scale * cos, scale * sin, down],
            [shear - scale * sin, scale * cos, across],
        ]
    }

    /// How far two devices' coordinates of a pixel's source may differ: see the [module](self).
    fn places_differ(&self, centre: [f32; 2], y: f32, x: f32) -> [f64; 2] {
        let [scale, shear, shift] = [self.scale, self.shear, self.shift].map(f64::from);
        let entry = 1.0 + scale + shear;
        let reach = entry * f64::from(y.abs() + x.abs()) + shift;
        centre.map(|centre| 32.0 * EPSILON * (reach + f64::from(centre)))
    }

    /// Writes how far two devices' values of each pixel of the distorted `image` may differ because their
    /// coordinates do: see the [module](self).
    pub(super) fn differences(
        &self,
        map: &Map,
        shape: ImageShape,
        image: &[f64],
        differences: &mut [f64],
    ) {
        let ImageShape {
            height,
            width,
            channels,
        } = shape;
        let [rows, columns] = [height, width].map(|side| side as i64);
        let centre = centre(shape);
        for (place, differences) in differences.chunks_exact_mut(channels).enumerate() {
            let y = (place / width) as f32 - centre[0];
            let x = (place % width) as f32 - centre[1];
            let (at, far) = (source(map, centre, y, x), self.places_differ(centre, y, x));
            // Corners of cells from `first` to `last`; beyond a pixel around the image all is 0.
            let [(top, bottom), (left, right)] = [0, 1].map(|i| {
                let (at, last) = (f64::from(at[i]), [rows, columns][i]);
                let corner = |at: f64| (at.floor() as i64).clamp(-1, last);
                (corner(at - far[i]), corner(at + far[i]))
            });
            for (channel, difference) in differences.iter_mut().enumerate() {
                let pixel = |y: i64, x: i64| {
                    if (0..rows).contains(&y) && (0..columns).contains(&x) {
                        image[(y * columns + x) as usize * channels + channel]
                    } else {
                        0.0
                    }
                };
                let (mut down, mut across) = (0.0f64, 0.0f64);
                for y in top..=bottom {
                    for x in left..=right + 1 {
                        down = down.max((pixel(y + 1, x) - pixel(y, x)).abs());
                    }
                }
                for y in top..=bottom + 1 {
                    for x in left..=right {
                        across = across.max((pixel(y, x + 1) - pixel(y, x)).abs());
                    }
                }
                *difference = far[0] * down + far[1] * across;
            }
        }
    }
}

/// Five uniforms in [−1, 1) for a row of a batch at a step, from two blocks of random words.
pub fn uniforms(row: usize, step: u32, stream: u32, key: [u32; 2]) -> [f32; 5] {
    const TWO_POW_MINUS_23: f32 = 1.0 / 8_388_608.0;
    let words = philox(2 * row as u32, step, stream, key);
    [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1)]
        .map(|(word, block): (usize, usize)| words[word][block])
        .map(|word| (word >> 8) as f32 * TWO_POW_MINUS_23 - 1.0)
}

/// The coordinates of an image's centre.
#[inline(always)]
fn centre(shape: ImageShape) -> [f32; 2] {
    shape.size().map(|side| 0.5 * (side as f32 - 1.0))
}

/// The coordinates that a pixel comes from; y and x are its own, from the centre.
#[inline(always)]
fn source(map: &Map, centre: [f32; 2], y: f32, x: f32) -> [f32; 2] {
    [0, 1].map(|i| map[i][0] * y + map[i][1] * x + map[i][2] + centre[i])
}

/// Pixels of a row whose corners are found side by side, one to a vector lane.
const LANES: usize = 16;

/// The four pixels that each pixel of a distorted image lies between, and their shares in it.
struct Corners {
    /// Places in the image; one past its end where the pixel lies outside.
    places: [[u32; LANES]; 4],
    /// 0 where the pixel lies outside.
    weights: [[f32; LANES]; 4],
}

impl Corners {
    /// Those of the pixels from column `first` on in a row.
    #[inline(always)]
    fn of(map: &Map, shape: ImageShape, row: usize, first: usize) -> Corners {
        let [height, width] = shape.size().map(|side| side as f32);
        let centre = centre(shape);
        let y = row as f32 - centre[0];
        let mut corners = Corners {
            places: [[0; LANES]; 4],
            weights: [[0.0; LANES]; 4],
        };
        for lane in 0..LANES {
            let x = (first + lane) as f32 - centre[1];
            let at = source(map, centre, y, x);
            let corner = at.map(f32::floor);
            let part = [at[0] - corner[0], at[1] - corner[1]];
            let share = |far: f32, part: f32| if far == 1.0 { part } else { 1.0 - part };
            for (i, (down, across)) in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
                .into_iter()
                .enumerate()
            {
                let (y, x) = (corner[0] + down, corner[1] + across);
                // `&`, not `&&`: branches would be in the way of vector code.
                let inside = (y >= 0.0) & (x >= 0.0) & (y < height) & (x < width);
                let weight = share(down, part[0]) * share(across, part[1]);
                // Exact: an image has at most 2²⁴ values.
                let place = if inside {
                    y * width + x
                } else {
                    height * width
                };
                corners.places[i][lane] = whole(place);
                corners.weights[i][lane] = if inside { weight } else { 0.0 };
            }
        }
        corners
    }
}

/// Writes the distorted `image` to `warped`.
#[inline(always)]
pub(super) fn warp<T: Scalar>(map: &Map, shape: ImageShape, image: &[T], warped: &mut [T]) {
    let ImageShape {
        width, channels, ..
    } = shape;
    for (y, row) in warped.chunks_exact_mut(width * channels).enumerate() {
        for (i, pixels) in row.chunks_mut(LANES * channels).enumerate() {
            let Corners { places, weights } = Corners::of(map, shape, y, i * LANES);
            for channel in 0..channels {
                let values = pixels[channel..].iter_mut().step_by(channels);
                for (lane, warped) in (0..LANES).zip(values) {
                    *warped = T::zero();
                    for corner in 0..4 {
                        let place = places[corner][lane] as usize * channels + channel;
                        let value = image.get(place).copied().unwrap_or(T::zero());
                        *warped += T::of(f64::from(weights[corner][lane])) * value;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape {
        height: 3,
        width: 4,
        channels: 2,
    };

    fn image() -> Vec<f64> {
        (0..SHAPE.features()).map(|i| i as f64).collect()
    }

    #[test]
    fn the_identity_leaves_an_image_as_it_is() {
        let mut warped = vec![9.0; SHAPE.features()];
        warp(
            &[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            SHAPE,
            &image(),
            &mut warped,
        );
        assert_eq!(warped, image());
    }

    #[test]
    fn a_shift_by_half_a_pixel_takes_the_mean_and_zeros_come_in_from_outside() {
        let mut warped = vec![9.0; SHAPE.features()];
        warp(
            &[[1.0, 0.0, 1.0], [0.0, 1.0, 0.5]],
            SHAPE,
            &image(),
            &mut warped,
        );
        // The second row of pixels comes up; its last pixel meets what lies outside.
        assert_eq!(warped[..4], [9.0, 10.0, 11.0, 12.0]);
        assert_eq!(warped[6..8], [7.0, 7.5]);
        assert_eq!(warped[16..], [0.0; 8]);
    }

    #[test]
    fn a_half_turn_reverses_an_image() {
        let mut warped = vec![9.0; SHAPE.features()];
        warp(
            &[[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]],
            SHAPE,
            &image(),
            &mut warped,
        );
        let expected: Vec<f64> = image().chunks(2).rev().flatten().copied().collect();
        assert_eq!(warped, expected);
    }

    #[test]
    fn draws_stay_in_their_ranges_and_reach_both_sides() {
        let ranges = Warp {
            shift: 3.0,
            rotation: 0.1,
            scale: 0.2,
            shear: 0.3,
        };
        let maps: Vec<Map> = (0..1000)
            .map(|row| ranges.draw(row, 5, 4, [1, 2]))
            .collect();
        for i in 0..2 {
            let shifts = maps.iter().map(|map| map[i][2]);
            let (low, high) = shifts.fold((0.0f32, 0.0f32), |(l, h), s| (l.min(s), h.max(s)));
            assert!((-3.0..-2.9).contains(&low) && (2.9..3.0).contains(&high));
        }
        for [[a, b, _], _] in maps {
            let scale = (a * a + b * b).sqrt();
            assert!((0.799..1.201).contains(&scale), "{scale}");
            assert!(b.atan2(a).abs() <= 0.1 * std::f32::consts::TAU + 1e-5);
        }
    }

    /// Ranges from none at all to the largest that a recipe may ask for.
    const RANGES: [Warp; 3] = [
        Warp {
            shift: 0.0,
            rotation: 0.0,
            scale: 0.0,
            shear: 0.3,
        },
        Warp {
            shift: 3.0,
            rotation: 23.0 / 360.0,
            scale: 0.2,
            shear: 0.3,
        },
        Warp {
            shift: 50.0,
            rotation: 89.0 / 360.0,
            scale: 0.9,
            shear: 10.0,
        },
    ];

    #[test]
    fn a_coordinate_is_as_close_as_derived_to_the_one_without_rounding() {
        let shape = ImageShape {
            height: 28,
            width: 40,
            channels: 1,
        };
        let centre = centre(shape);
        for ranges in RANGES {
            let mut most = 0.0f64;
            for row in 0..500 {
                let map = ranges.draw(row, 5, 4, [1, 2]);
                let [turn, scale, shear, down, across] = uniforms(row, 5, 4, [1, 2]).map(f64::from);
                let (sin, cos) =
                    (turn * f64::from(ranges.rotation) * std::f64::consts::TAU).sin_cos();
                let scale = 1.0 + scale * f64::from(ranges.scale);
                let shear = shear * f64::from(ranges.shear);
                let [down, across] = [down, across].map(|u| u * f64::from(ranges.shift));
                let exact = [
                    [scale * cos, scale * sin, down],
                    [shear - scale * sin, scale * cos, across],
                ];
                for place in 0..shape.area() {
                    let y = (place / shape.width) as f32 - centre[0];
                    let x = (place % shape.width) as f32 - centre[1];
                    let at = source(&map, centre, y, x);
                    let far = ranges.places_differ(centre, y, x);
                    for i in 0..2 {
                        let [by_y, by_x, shift] = exact[i];
                        let exact = by_y * f64::from(y)
                            + by_x * f64::from(x)
                            + shift
                            + f64::from(centre[i]);
                        // One device is off by half of what two may differ by.
                        most = most.max((f64::from(at[i]) - exact).abs() / (0.5 * far[i]));
                    }
                }
            }
            // Worst cases do not meet, but the bound is no idle one.
            assert!((0.05..1.0).contains(&most), "{ranges:?}: {most}");
            println!("{ranges:?}: {most:.2} of the bound");
        }
    }

    #[test]
    fn pixels_move_no_farther_than_derived_when_coordinates_do() {
        let image: Vec<f64> = (0..SHAPE.features())
            .map(|i| f64::from((7 * i as u32) % 11) / 11.0)
            .collect();
        let values = |map: &Map| {
            let mut warped = vec![0.0; SHAPE.features()];
            warp(map, SHAPE, &image, &mut warped);
            warped
        };
        let mut most = 0.0f64;
        for ranges in RANGES {
            for row in 0..500 {
                let map = ranges.draw(row, 5, 4, [1, 2]);
                let mut allowed = vec![0.0; SHAPE.features()];
                ranges.differences(&map, SHAPE, &image, &mut allowed);
                for (down, across) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
                    // All coordinates by what is allowed at the centre, the least of all.
                    let far = ranges.places_differ(centre(SHAPE), 0.0, 0.0);
                    let mut moved = map;
                    moved[0][2] += down * far[0] as f32;
                    moved[1][2] += across * far[1] as f32;
                    let pairs = values(&map).into_iter().zip(values(&moved));
                    for ((a, b), allowed) in pairs.zip(&allowed) {
                        // Adding a shift and the shares' own products round, too.
                        let difference = ((a - b).abs() - 16.0 * EPSILON).max(0.0);
                        assert!(difference <= *allowed, "{a} and {b}: {allowed} allowed");
                        if difference > 0.0 {
                            most = most.max(difference / allowed);
                        }
                    }
                }
            }
        }
        assert!(most > 0.3, "{most}");
    }
}
