//! The shape of an image.

use std::fmt::{self, Display};
use std::str::FromStr;

use thiserror::Error;

/// Most values of an image: beyond it even one weight matrix would not fit any memory.
pub const MOST_VALUES: usize = 1 << 24;

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

/// A text that is no shape of an image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no shape of an image: expected HEIGHTxWIDTHxCHANNELS, such as 28x28x1, with at most \
     {MOST_VALUES} values"
)]
pub struct ImageShapeError(String);

impl FromStr for ImageShape {
    type Err = ImageShapeError;

    /// Reads what [`Display`] writes, and `x` for `×`.
    fn from_str(text: &str) -> Result<ImageShape, ImageShapeError> {
        let error = || ImageShapeError(text.to_owned());
        let sides: Result<Vec<usize>, _> = text.split(['x', '×']).map(str::parse).collect();
        let sides = sides.map_err(|_| error())?;
        let values = sides.iter().try_fold(1, |a: usize, &b| a.checked_mul(b));
        match (&sides[..], values) {
            (&[height, width, channels], Some(1..=MOST_VALUES)) => Ok(ImageShape {
                height,
                width,
                channels,
            }),
            _ => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_survives_a_round_trip_and_anything_else_is_refused() {
        let shape = ImageShape {
            height: 28,
            width: 24,
            channels: 3,
        };
        assert_eq!(shape.to_string().parse(), Ok(shape));
        assert_eq!("28x24x3".parse(), Ok(shape));
        for wrong in [
            "",
            "28",
            "28x24",
            "28x24x",
            "28x24x3x1",
            "28x0x3",
            "-28x24x3",
            "28 x 24 x 3",
            "4097x4096x1",
            "4294967296x4294967296x1",
        ] {
            let error = wrong.parse::<ImageShape>().expect_err(wrong).to_string();
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
