//! How a window slides over images: the geometry that convolution and pooling share.
//!
//! ```text
//! tap t of the window at position o falls on position   o · stride + t · dilation − padding
//!
//! output = ⌊(input + 2 · padding − dilation · (kernel − 1) − 1) / stride⌋ + 1
//! ```
//! in each direction. A transposed convolution goes the other way: its input is the smaller side
//! and its output the larger one. Several larger sides fall onto one smaller side; *output padding*,
//! below the stride, says which is meant:
//!
//! ```text
//! larger = (smaller − 1) · stride − 2 · padding + dilation · (kernel − 1) + 1 + output padding
//! ```

use thiserror::Error;

/// The window and the larger of the two sides it connects. Pairs are \[rows, columns\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of an image on the larger side.
    pub size: [usize; 2],
    /// Taps.
    pub kernel: [usize; 2],
    /// Distance between neighbouring positions.
    pub stride: [usize; 2],
    /// Zeros around the image, on each side.
    pub padding: [usize; 2],
    /// Distance between neighbouring taps.
    pub dilation: [usize; 2],
}

/// A window that cannot slide over its image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WindowError {
    /// Nothing to slide.
    #[error("{what} is {found:?} (rows, columns): expected at least 1 in both")]
    Zero {
        /// kernel, stride, dilation or image
        what: &'static str,
        /// Its value.
        found: [usize; 2],
    },
    /// It does not fit once.
    #[error(
        "a kernel of {:?} with dilation {:?} spans {:?}, more than the image of {:?} with padding \
         {:?}, which is {:?} (rows, columns)\nhint: make the kernel smaller or the padding larger",
        .0.kernel, .0.dilation, .0.span(), .0.size, .0.padding, .0.padded()
    )]
    KernelTooLarge(Window),
    /// A window may lie wholly in the padding.
    #[error(
        "padding {padding:?} reaches beyond half of a pooling window of {kernel:?} (rows, columns): \
         some windows would see no pixel"
    )]
    PoolPadding {
        /// The padding.
        padding: [usize; 2],
        /// The window.
        kernel: [usize; 2],
    },
    /// With a dilation, taps may step over all pixels.
    #[error(
        "a pooling window of {:?} with dilation {:?} and padding {:?} sees no pixel somewhere on an \
         image of {:?} (rows, columns)",
        .0.kernel, .0.dilation, .0.padding, .0.size
    )]
    Blind(Window),
    /// It would name a larger side that the convolution maps elsewhere.
    #[error("output padding {output_padding:?} is not below the stride {stride:?} (rows, columns)")]
    OutputPadding {
        /// The output padding.
        output_padding: [usize; 2],
        /// The stride.
        stride: [usize; 2],
    },
    /// The padding takes away more than there is.
    #[error(
        "a transposed convolution of {small:?} with kernel {kernel:?}, stride {stride:?} and padding \
         {padding:?} would leave an image without pixels\nhint: make the padding smaller"
    )]
    NothingLeft {
        /// The smaller side.
        small: [usize; 2],
        /// Taps.
        kernel: [usize; 2],
        /// Distance between positions.
        stride: [usize; 2],
        /// Taken away on each side.
        padding: [usize; 2],
    },
}

impl Window {
    /// Returns the window if it fits over its image at least once.
    pub fn checked(self) -> Result<Window, WindowError> {
        self.check_nothing_is_zero(self.size)?;
        let (span, padded) = (self.span(), self.padded());
        if (0..2).any(|i| span[i] > padded[i]) {
            return Err(WindowError::KernelTooLarge(self));
        }
        Ok(self)
    }

    /// The window of a pooling: one that always sees a pixel.
    pub fn checked_for_pooling(self) -> Result<Window, WindowError> {
        let window = self.checked()?;
        let (padding, kernel) = (window.padding, window.kernel);
        if (0..2).any(|i| 2 * padding[i] > kernel[i]) {
            return Err(WindowError::PoolPadding { padding, kernel });
        }
        let map = window.map();
        let sees = |i: usize, place: usize| {
            (0..kernel[i]).any(|tap| window.under(i, place, tap).is_some())
        };
        if (0..2).any(|i| (0..map[i]).any(|place| !sees(i, place))) {
            return Err(WindowError::Blind(window));
        }
        Ok(window)
    }

    /// The window of a transposed convolution, whose input is the smaller side: fills in `size`.
    pub fn transposed(
        self,
        small: [usize; 2],
        output_padding: [usize; 2],
    ) -> Result<Window, WindowError> {
        let (span, stride, padding) = (self.span(), self.stride, self.padding);
        self.check_nothing_is_zero(small)?;
        if (0..2).any(|i| output_padding[i] >= stride[i]) {
            return Err(WindowError::OutputPadding {
                output_padding,
                stride,
            });
        }
        let mut size = [0; 2];
        for i in 0..2 {
            let reached = (small[i] - 1) * stride[i] + span[i] + output_padding[i];
            let Some(left @ 1..) = reached.checked_sub(2 * padding[i]) else {
                return Err(WindowError::NothingLeft {
                    small,
                    kernel: self.kernel,
                    stride,
                    padding,
                });
            };
            size[i] = left;
        }
        Window { size, ..self }.checked()
    }

    /// `image` is the side that is given, the larger or the smaller.
    fn check_nothing_is_zero(&self, image: [usize; 2]) -> Result<(), WindowError> {
        let parts = [
            ("the image", image),
            ("the kernel", self.kernel),
            ("the stride", self.stride),
            ("the dilation", self.dilation),
        ];
        match parts.into_iter().find(|(_, found)| found.contains(&0)) {
            Some((what, found)) => Err(WindowError::Zero { what, found }),
            None => Ok(()),
        }
    }

    /// What the taps reach over.
    pub(super) fn span(&self) -> [usize; 2] {
        [0, 1].map(|i| self.dilation[i] * self.kernel[i].saturating_sub(1) + 1)
    }

    fn padded(&self) -> [usize; 2] {
        [0, 1].map(|i| self.size[i] + 2 * self.padding[i])
    }

    /// Rows and columns of the smaller side: how often the window fits.
    pub fn map(&self) -> [usize; 2] {
        let (span, padded) = (self.span(), self.padded());
        [0, 1].map(|i| (padded[i] - span[i]) / self.stride[i] + 1)
    }

    /// Positions on the larger side of one image.
    pub fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Positions on the smaller side of one image.
    pub fn map_area(&self) -> usize {
        self.map()[0] * self.map()[1]
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The position, in direction `i`, that a tap of the window at `place` falls on; none in the
    /// padding.
    #[inline(always)]
    pub(super) fn under(&self, i: usize, place: usize, tap: usize) -> Option<usize> {
        (place * self.stride[i] + tap * self.dilation[i])
            .checked_sub(self.padding[i])
            .filter(|&there| there < self.size[i])
    }

    /// The uniform that `shaders/shared/window.wgsl` declares.
    pub(super) fn dims(
        &self,
        images: usize,
        [channels, maps]: [usize; 2],
        blocks: usize,
    ) -> Vec<u32> {
        let single = [images, channels, maps, blocks];
        let pairs = [
            self.size,
            self.map(),
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
        ];
        let words = single.into_iter().chain(pairs.into_iter().flatten());
        words.map(|word| word as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(size: [usize; 2], kernel: usize, stride: usize, padding: usize) -> Window {
        Window {
            size,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [1; 2],
        }
    }

    #[test]
    fn a_window_fits_as_often_as_the_formula_says() {
        assert_eq!(window([28, 31], 3, 2, 1).map(), [14, 16]);
        let dilated = Window {
            dilation: [2; 2],
            ..window([7, 5], 3, 1, 0)
        };
        assert_eq!(dilated.map(), [3, 1]);
    }

    #[test]
    fn output_padding_names_one_of_the_larger_sides() {
        for (output_padding, size) in [(0, 13), (1, 14)] {
            let up = window([0; 2], 3, 2, 1).transposed([7; 2], [output_padding; 2]);
            let up = up.expect("legal");
            assert_eq!(up.size, [size; 2]);
            assert_eq!(up.map(), [7; 2]);
        }
    }

    #[test]
    fn what_cannot_slide_is_an_error_that_quotes_shapes() {
        let message =
            |result: Result<Window, WindowError>| result.expect_err("illegal").to_string();
        let large = message(window([3, 4], 7, 1, 1).checked());
        assert!(
            large.contains("[7, 7]") && large.contains("[5, 6]"),
            "{large}"
        );
        let still = message(window([8, 8], 3, 0, 1).checked());
        assert!(still.contains("the stride is [0, 0]"), "{still}");
        let padded = message(window([0; 2], 3, 2, 1).transposed([7; 2], [2; 2]));
        assert!(
            padded.contains("[2, 2] is not below the stride [2, 2]"),
            "{padded}"
        );
        let empty = message(window([0; 2], 1, 1, 1).transposed([2; 2], [0; 2]));
        assert!(empty.contains("without pixels"), "{empty}");
        let pool = message(window([8, 8], 2, 2, 2).checked_for_pooling());
        assert!(pool.contains("beyond half"), "{pool}");
        let dilated = Window {
            dilation: [2; 2],
            ..window([1; 2], 2, 1, 1)
        };
        let blind = message(dilated.checked_for_pooling());
        assert!(blind.contains("sees no pixel"), "{blind}");
    }
}
