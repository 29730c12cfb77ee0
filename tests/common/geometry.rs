//! Random windows for convolution and pooling, the same in every test.

use diabolo::kernels::Window;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A convolution's window with the number of images and of channels on either side.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub images: usize,
    pub window: Window,
    pub channels: usize,
    pub maps: usize,
}

impl Geometry {
    /// Rows on the larger and on the smaller side.
    pub fn rows(&self) -> [usize; 2] {
        [self.window.area(), self.window.map_area()].map(|area| self.images * area)
    }
}

/// `count` geometries: kernel 1–5, stride 1–3, padding 0–2, dilation 1–2, each direction on its own,
/// sides up to 12 (so that every output padding occurs), 1–17 channels.
pub fn geometries(count: usize) -> Vec<Geometry> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut found = Vec::new();
    while found.len() < count {
        let mut pair = |range: std::ops::RangeInclusive<usize>| {
            [rng.random_range(range.clone()), rng.random_range(range)]
        };
        let window = Window {
            size: pair(1..=12),
            kernel: pair(1..=5),
            stride: pair(1..=3),
            padding: pair(0..=2),
            dilation: pair(1..=2),
        };
        let [images, _] = pair(1..=3);
        let [channels, maps] = pair(1..=17);
        if let Ok(window) = window.checked() {
            found.push(Geometry {
                images,
                window,
                channels,
                maps,
            });
        }
    }
    found
}
