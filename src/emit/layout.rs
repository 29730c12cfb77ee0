//! How PyTorch arranges what is stored here channels last.

use crate::image::ImageShape;

/// What the columns of a matrix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Features without an order.
    Plain(usize),
    /// The values of an image: pixel by pixel here, channel by channel in PyTorch.
    Image(ImageShape),
}

impl Columns {
    /// Their number.
    pub fn count(&self) -> usize {
        match self {
            Columns::Plain(count) => *count,
            Columns::Image(shape) => shape.features(),
        }
    }

    /// Their axes here, and PyTorch's order of them.
    fn axes(&self) -> (Vec<usize>, Vec<usize>) {
        match *self {
            Columns::Plain(count) => (vec![count], vec![0]),
            Columns::Image(ImageShape {
                height,
                width,
                channels,
            }) => (vec![height, width, channels], vec![2, 0, 1]),
        }
    }
}

impl From<usize> for Columns {
    fn from(count: usize) -> Self {
        Columns::Plain(count)
    }
}

/// How a tensor relates to PyTorch's of the same name: a permutation of axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Axes here, row-major.
    shape: Vec<usize>,
    /// PyTorch's axes in its order, each as an axis of `shape`.
    order: Vec<usize>,
    /// PyTorch's shape, in which some of those axes are one.
    stored: Vec<usize>,
}

impl Layout {
    /// One value per column: a bias, γ, β or a running statistic.
    pub fn vector(columns: impl Into<Columns>) -> Layout {
        let columns = columns.into();
        let (shape, order) = columns.axes();
        Layout {
            shape,
            order,
            stored: vec![columns.count()],
        }
    }

    /// A dense weight: `[inputs, outputs]` here, `[outputs, inputs]` there.
    pub fn dense(inputs: Columns, outputs: Columns) -> Layout {
        let ((mut shape, input_order), (output_shape, output_order)) =
            (inputs.axes(), outputs.axes());
        let shift = shape.len();
        shape.extend(output_shape);
        let order = output_order.iter().map(|axis| axis + shift);
        Layout {
            order: order.chain(input_order).collect(),
            shape,
            stored: vec![outputs.count(), inputs.count()],
        }
    }

    /// A convolution's weight: `[KH, KW, C, M]` here, `[M, C, KH, KW]` there. A transposed
    /// convolution's is the same: PyTorch puts the channels of the smaller side first in both.
    pub fn convolution([rows, cols]: [usize; 2], channels: usize, maps: usize) -> Layout {
        Layout {
            shape: vec![rows, cols, channels, maps],
            order: vec![3, 2, 0, 1],
            stored: vec![maps, channels, rows, cols],
        }
    }

    /// The shape here.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// PyTorch's shape.
    pub fn stored_shape(&self) -> &[usize] {
        &self.stored
    }

    /// For each of PyTorch's elements in order, the index of the same element here.
    fn sources(&self) -> impl Iterator<Item = usize> + '_ {
        let strides: Vec<usize> = (0..self.shape.len())
            .map(|axis| self.shape[axis + 1..].iter().product())
            .collect();
        (0..self.shape.iter().product()).map(move |element| {
            let (mut rest, mut source) = (element, 0);
            for &axis in self.order.iter().rev() {
                source += rest % self.shape[axis] * strides[axis];
                rest /= self.shape[axis];
            }
            source
        })
    }

    /// From this program's order of elements to PyTorch's.
    pub fn to_stored<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.sources().map(|source| values[source]).collect()
    }

    /// From PyTorch's order of elements to this program's.
    pub fn from_stored<T: Copy + Default>(&self, stored: &[T]) -> Vec<T> {
        let mut values = vec![T::default(); stored.len()];
        for (source, &value) in self.sources().zip(stored) {
            values[source] = value;
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: ImageShape = ImageShape {
        height: 2,
        width: 3,
        channels: 2,
    };

    #[test]
    fn a_dense_weight_is_transposed() {
        let layout = Layout::dense(Columns::Plain(2), Columns::Plain(3));
        assert_eq!(layout.stored_shape(), [3, 2]);
        assert_eq!(layout.to_stored(&[0, 1, 2, 3, 4, 5]), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn an_image_is_stored_channel_by_channel() {
        let layout = Layout::vector(Columns::Image(IMAGE));
        let values: Vec<usize> = (0..12).collect();
        let expected = [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11];
        assert_eq!(layout.to_stored(&values), expected);
    }

    #[test]
    fn there_and_back_gives_the_same() {
        for layout in [
            Layout::vector(5),
            Layout::dense(Columns::Image(IMAGE), Columns::Plain(4)),
            Layout::dense(Columns::Plain(4), Columns::Image(IMAGE)),
            Layout::convolution([2, 3], 4, 5),
        ] {
            let len = layout.stored_shape().iter().product();
            let values: Vec<usize> = (0..len).collect();
            let stored = layout.to_stored(&values);
            assert_eq!(layout.from_stored(&stored), values, "{layout:?}");
        }
    }
}
