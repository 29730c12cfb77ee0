//! Shapes to try, small ones and those beside powers of two.

use diabolo::gradcheck::Geometry;
use diabolo::kernels::upsample::Enlargement;
use diabolo::kernels::{Activation, Window};
use proptest::prelude::*;
use proptest::sample::select;

/// A side of a matrix.
pub fn side() -> impl Strategy<Value = usize> {
    prop_oneof![1..=16usize, select(vec![1, 31, 33, 127, 129])]
}

pub fn activation() -> impl Strategy<Value = Activation> {
    select(Activation::FUSIBLE.to_vec())
}

/// A matrix of reals, by its shape and the seed of its values.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub rows: usize,
    pub cols: usize,
    pub seed: u64,
}

impl Shape {
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }
}

pub fn shape() -> impl Strategy<Value = Shape> {
    (side(), side(), 0..1000u64).prop_map(|(rows, cols, seed)| Shape { rows, cols, seed })
}

fn pair(range: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = [usize; 2]> {
    [range.clone(), range]
}

/// Windows over images, some of more than one tile of patches, with a seed for values.
pub fn geometry() -> impl Strategy<Value = (Geometry, u64)> {
    /// Products of a tap, a channel and a map at most, to stay quick.
    const WORK: usize = 1 << 20;
    let image_side = || prop_oneof![3 => 1..=12usize, 1 => select(vec![31, 33])];
    let channels = || prop_oneof![4 => 1..=9usize, 1 => select(vec![31, 33])];
    let window = (
        [image_side(), image_side()],
        pair(1..=5),
        pair(1..=3),
        pair(0..=2),
        pair(1..=2),
    );
    let sizes = (1..=3usize, channels(), channels(), 0..1000u64);
    (window, sizes).prop_filter_map("fits and is quick", |(window, sizes)| {
        let (size, kernel, stride, padding, dilation) = window;
        let (images, channels, maps, seed) = sizes;
        let window = Window {
            size,
            kernel,
            stride,
            padding,
            dilation,
        };
        let window = window.checked().ok()?;
        let work = images * window.map_area() * window.taps() * channels * maps;
        let geometry = Geometry {
            images,
            window,
            channels,
            maps,
        };
        (work <= WORK).then_some((geometry, seed))
    })
}

/// Windows of pooling.
pub fn pooling() -> impl Strategy<Value = (Geometry, u64)> {
    geometry().prop_filter("always sees a pixel", |(geometry, _)| {
        geometry.window.checked_for_pooling().is_ok()
    })
}

/// Images to be enlarged.
#[derive(Clone, Copy, Debug)]
pub struct Enlarged {
    pub images: usize,
    pub channels: usize,
    pub enlargement: Enlargement,
    pub seed: u64,
}

pub fn enlarged() -> impl Strategy<Value = Enlarged> {
    let channels = prop_oneof![4 => 1..=9usize, 1 => select(vec![31, 33])];
    (1..=3usize, channels, pair(1..=9), pair(1..=4), 0..1000u64).prop_map(
        |(images, channels, size, factor, seed)| Enlarged {
            images,
            channels,
            enlargement: Enlargement { size, factor },
            seed,
        },
    )
}
