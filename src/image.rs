//! The shape of an image.

use std::fmt::{self, Display};

/// The shape of one image, channels last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageShape {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// Values per pixel.
    pub channels: usize,
}

impl ImageShape {
    /// Pixels.
    pub fn area(&self) -> usize {
        self.height * self.width
    }

    /// Values: the columns of a matrix that has an image in every row.
    pub fn features(&self) -> usize {
        self.area() * self.channels
    }

    /// Rows and columns of pixels.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }
}

impl Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.height, self.width, self.channels)
    }
}
