//! Random windows for convolution and pooling.

use rand::{Rng, RngExt};

use crate::kernels::Window;

/// A convolution's window with the number of images and of channels on either side.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// N
    pub images: usize,
    /// How the window slides.
    pub window: Window,
    /// C
    pub channels: usize,
    /// M
    pub maps: usize,
}

impl Geometry {
    /// Kernel 1–5, stride 1–3, padding 0–2, dilation 1–2, each direction on its own, sides up to 12
    /// (so that every output padding occurs), 1–17 channels.
    pub fn random(rng: &mut impl Rng) -> Geometry {
        loop {
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
                return Geometry {
                    images,
                    window,
                    channels,
                    maps,
                };
            }
        }
    }

    /// One whose window may pool.
    pub fn random_for_pooling(rng: &mut impl Rng) -> Geometry {
        loop {
            let geometry = Geometry::random(rng);
            if geometry.window.checked_for_pooling().is_ok() {
                return geometry;
            }
        }
    }

    /// Rows of the larger and of the smaller side.
    pub fn rows(&self) -> [usize; 2] {
        [self.window.area(), self.window.map_area()].map(|area| self.images * area)
    }

    /// Shape of the larger side: \[N, H, W, C\].
    pub fn large(&self) -> [usize; 4] {
        let [height, width] = self.window.size;
        [self.images, height, width, self.channels]
    }

    /// Shape of the smaller side: \[N, OH, OW, M\].
    pub fn small(&self) -> [usize; 4] {
        let [height, width] = self.window.map();
        [self.images, height, width, self.maps]
    }
}
