//! Images and labels: reading, checking, and drawing small labelled sets from them.

pub mod arrays;
pub mod cache;
pub mod catalogue;
pub mod cifar;
pub mod draws;
mod error;
pub mod fashion_mnist;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod folder;
pub mod idx;
mod load;
pub mod mnist;
pub mod npy;
mod npy_header;
mod on_disk;
pub mod picture;
mod published;
mod selection;
mod source;
mod split;
pub mod synthetic;

pub use error::DataError;
pub use load::{load, load_from};
pub use on_disk::OnDisk;
pub use published::PublishedFile;
pub use selection::{Colour, Selection};

use std::fmt::{self, Display};
use std::sync::Arc;

use crate::image::ImageShape;

/// A stack of images of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// Number of images.
    pub count: usize,
    /// Rows of pixels per image.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// Values per pixel: 1 for grey, 3 for colour.
    pub channels: usize,
    /// `count * height * width * channels` values, the channel running fastest and the image
    /// slowest.
    pub pixels: Pixels,
}

/// How far the pixels of an array may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// From 0 to 1.
    Clean,
    /// As far beyond as noise on such pixels goes: from −16 to 16. Other scales are farther out.
    Noisy,
}

impl Range {
    fn contains(self, value: f32) -> bool {
        match self {
            Range::Clean => (0.0..=1.0).contains(&value),
            Range::Noisy => (-16.0..=16.0).contains(&value),
        }
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Range::Clean => "[0, 1]",
            Range::Noisy => "[0, 1], or little beyond for noise",
        })
    }
}

/// Pixel values, as compact as they came: bytes take a quarter of the memory of floats. A clone
/// shares them.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// Brightness from 0 to 255.
    Bytes(Arc<Vec<u8>>),
    /// Brightness from 0 to 1.
    Real(Arc<Vec<f32>>),
    /// Brightness from 0 to 255, in a file.
    OnDisk(OnDisk),
}

/// Brightness of a byte pixel on the scale from 0 to 1.
fn unit(byte: u8) -> f32 {
    // Dividing rounds correctly; multiplying by 1/255 would miss by a bit for some bytes.
    f32::from(byte) / 255.0
}

/// Hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Images {
    /// Values per image: height times width times channels.
    pub fn features(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Copies image `i` into `row`, on the scale from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the image is in a file that cannot be read.
    ///
    /// # Panics
    ///
    /// If `i` is not below `count`, or `row` does not hold [`features`](Self::features) values.
    pub fn row_f32(&self, i: usize, row: &mut [f32]) -> Result<(), DataError> {
        let features = self.features();
        assert_eq!(row.len(), features, "a row holds one image");
        let scale = |row: &mut [f32], bytes: &[u8]| {
            for (value, &byte) in row.iter_mut().zip(bytes) {
                *value = unit(byte);
            }
        };
        match &self.pixels {
            Pixels::Real(values) => row.copy_from_slice(&values[i * features..][..features]),
            Pixels::Bytes(bytes) => scale(row, &bytes[i * features..][..features]),
            Pixels::OnDisk(images) => {
                let mut bytes = vec![0; features];
                images.copy(std::iter::once(i), &mut bytes)?;
                scale(row, &bytes);
            }
        }
        Ok(())
    }

    /// All images as a row-major `[count, features]` matrix on the scale from 0 to 1.
    ///
    /// # Errors
    ///
    /// As [`row_f32`](Self::row_f32).
    pub fn to_f32(&self) -> Result<Vec<f32>, DataError> {
        let mut values = vec![0.0; self.count * self.features()];
        let rows = values.chunks_exact_mut(self.features()).enumerate();
        for (i, row) in rows {
            self.row_f32(i, row)?;
        }
        Ok(values)
    }

    /// Copies images, one after the other, into `bytes`; real pixels are rounded to 1/255.
    ///
    /// # Errors
    ///
    /// As [`row_f32`](Self::row_f32).
    ///
    /// # Panics
    ///
    /// If an index is not below `count`, or `bytes` is shorter than all these images.
    pub fn copy_bytes(
        &self,
        indices: impl Iterator<Item = usize>,
        bytes: &mut [u8],
    ) -> Result<(), DataError> {
        let features = self.features();
        match &self.pixels {
            Pixels::OnDisk(images) => images.copy(indices, bytes)?,
            Pixels::Bytes(all) => {
                for (index, copy) in indices.zip(bytes.chunks_exact_mut(features)) {
                    copy.copy_from_slice(&all[index * features..][..features]);
                }
            }
            Pixels::Real(all) => {
                for (index, copy) in indices.zip(bytes.chunks_exact_mut(features)) {
                    let values = &all[index * features..][..features];
                    for (byte, value) in copy.iter_mut().zip(values) {
                        *byte = (value * 255.0).round() as u8;
                    }
                }
            }
        }
        Ok(())
    }

    /// These images, in this order: copies, if they are in memory.
    ///
    /// # Panics
    ///
    /// If one of `order` is not below `count`.
    pub fn pick(&self, order: &[usize]) -> Images {
        fn gather<T: Copy>(values: &[T], features: usize, order: &[usize]) -> Arc<Vec<T>> {
            let mut picked = Vec::with_capacity(order.len() * features);
            for &index in order {
                picked.extend_from_slice(&values[index * features..][..features]);
            }
            picked.into()
        }
        let features = self.features();
        Images {
            count: order.len(),
            pixels: match &self.pixels {
                Pixels::Bytes(bytes) => Pixels::Bytes(gather(bytes, features, order)),
                Pixels::Real(reals) => Pixels::Real(gather(reals, features, order)),
                Pixels::OnDisk(images) => Pixels::OnDisk(images.pick(order)),
            },
            ..*self
        }
    }

    /// Keeps the first `count` images, or all if there are fewer.
    pub fn truncate(&mut self, count: usize) {
        self.count = self.count.min(count);
        let values = self.count * self.features();
        match &mut self.pixels {
            Pixels::Bytes(bytes) => Arc::make_mut(bytes).truncate(values),
            Pixels::Real(reals) => Arc::make_mut(reals).truncate(values),
            Pixels::OnDisk(images) => images.truncate(self.count),
        }
    }

    /// The shape of one image.
    pub fn shape(&self) -> ImageShape {
        ImageShape {
            height: self.height,
            width: self.width,
            channels: self.channels,
        }
    }
}

/// Images to train on, and others to test on; labelled, or not.
///
/// Unlabelled data has no labels in either part and 0 classes. It trains an autoencoder like any
/// other, but there is nothing to classify.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Name for reports.
    pub name: String,
    /// Training images.
    pub train: Images,
    /// Class of each training image, below `classes`; empty if unlabelled.
    pub train_labels: Vec<u8>,
    /// Test images, of the same height, width and channels.
    pub test: Images,
    /// Class of each test image, below `classes`; empty if unlabelled.
    pub test_labels: Vec<u8>,
    /// Number of classes; 0 if unlabelled.
    pub classes: usize,
    /// What the classes are called, by their numbers; empty if they are called by their numbers.
    pub class_names: Vec<String>,
}

/// Images with their labels, if they have any.
#[derive(Clone, Debug)]
pub struct Examples {
    /// The images.
    pub images: Images,
    /// The class of each image; empty if unlabelled.
    pub labels: Arc<[u8]>,
    /// Number of classes; 0 if unlabelled.
    pub classes: usize,
}

impl From<&Images> for Examples {
    /// Images without labels.
    fn from(images: &Images) -> Self {
        Examples {
            images: images.clone(),
            labels: Arc::new([]),
            classes: 0,
        }
    }
}

impl Dataset {
    /// The training images with their labels.
    pub fn training(&self) -> Examples {
        Examples {
            images: self.train.clone(),
            labels: self.train_labels.as_slice().into(),
            classes: self.classes,
        }
    }

    /// The test images with their labels.
    pub fn held_out(&self) -> Examples {
        Examples {
            images: self.test.clone(),
            labels: self.test_labels.as_slice().into(),
            classes: self.classes,
        }
    }

    /// What a class is called.
    pub fn class_name(&self, class: usize) -> String {
        let name = self.class_names.get(class);
        name.cloned().unwrap_or_else(|| class.to_string())
    }

    /// Whether the images have classes.
    pub fn is_labelled(&self) -> bool {
        self.classes > 0
    }

    /// Returns the data set if its parts belong together.
    ///
    /// # Errors
    ///
    /// [`DataError::ShapeMismatch`] if training and test images differ in shape, and what
    /// [`check_labels`] finds in either part.
    pub fn checked(self) -> Result<Dataset, DataError> {
        let (train, test) = (self.train.shape(), self.test.shape());
        if train != test {
            let name = self.name;
            return Err(DataError::ShapeMismatch { name, train, test });
        }
        let unlabelled = self.train_labels.is_empty() && self.test_labels.is_empty();
        if unlabelled && !self.is_labelled() {
            return Ok(self);
        }
        for (part, images, labels) in [
            ("training", &self.train, &self.train_labels),
            ("test", &self.test, &self.test_labels),
        ] {
            let origin = format!("{} {part} set", self.name);
            check_labels(&origin, images.count, labels, self.classes)?;
        }
        Ok(self)
    }

    /// Keeps the first so many training and test images.
    pub fn truncate(&mut self, train: usize, test: usize) {
        self.train.truncate(train);
        self.train_labels.truncate(train);
        self.test.truncate(test);
        self.test_labels.truncate(test);
    }
}

/// Checks that there is one label per image, and that each is below `classes`.
///
/// `origin` names the labels in messages.
///
/// # Errors
///
/// [`DataError::CountMismatch`], or [`DataError::LabelRange`] with the first label out of range.
pub fn check_labels(
    origin: &str,
    images: usize,
    labels: &[u8],
    classes: usize,
) -> Result<(), DataError> {
    let origin = || origin.to_owned();
    if images != labels.len() {
        return Err(DataError::CountMismatch {
            origin: origin(),
            images,
            labels: labels.len(),
        });
    }
    let outside = |&label: &u8| usize::from(label) >= classes;
    match labels.iter().position(outside) {
        None => Ok(()),
        Some(index) => Err(DataError::LabelRange {
            origin: origin(),
            index,
            label: labels[index],
            classes,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(count: usize, pixels: Pixels) -> Images {
        Images {
            count,
            height: 1,
            width: 3,
            channels: 1,
            pixels,
        }
    }

    fn dataset() -> Dataset {
        Dataset {
            name: "tiny".into(),
            train: images(2, Pixels::Bytes(vec![0; 6].into())),
            train_labels: vec![0, 1],
            test: images(1, Pixels::Bytes(vec![0; 3].into())),
            test_labels: vec![1],
            classes: 2,
            class_names: vec![],
        }
    }

    #[test]
    fn bytes_scale_to_fractions_of_255() {
        let images = images(2, Pixels::Bytes(vec![0, 51, 255, 1, 2, 3].into()));
        let all = images.to_f32().unwrap();
        assert_eq!(all[..3], [0.0, 0.2, 1.0]);
        let mut row = [0.0; 3];
        images.row_f32(1, &mut row).unwrap();
        assert_eq!(row, [1.0 / 255.0, 2.0 / 255.0, 3.0 / 255.0]);
        assert_eq!(row, all[3..]);
    }

    #[test]
    fn real_pixels_pass_through() {
        let images = images(2, Pixels::Real(vec![0.0, 0.5, 1.0, 0.25, 0.5, 0.75].into()));
        let mut row = [0.0; 3];
        images.row_f32(1, &mut row).unwrap();
        assert_eq!(row, [0.25, 0.5, 0.75]);
        assert_eq!(images.to_f32().unwrap()[3..], row);
    }

    #[test]
    fn picked_images_come_in_the_order_asked_for() {
        let all = images(3, Pixels::Bytes(Arc::new((0..9).collect())));
        let picked = all.pick(&[2, 0, 2]);
        assert_eq!(picked.count, 3);
        assert_eq!(
            picked.pixels,
            Pixels::Bytes(vec![6, 7, 8, 0, 1, 2, 6, 7, 8].into())
        );
    }

    #[test]
    fn parts_that_belong_together_pass() {
        assert_eq!(dataset().checked().unwrap(), dataset());
    }

    #[test]
    fn data_without_labels_and_classes_is_unlabelled_and_stays_so_when_cut() {
        let mut data = dataset();
        (data.train_labels, data.test_labels) = (vec![], vec![]);
        data.classes = 0;
        let mut data = data.checked().unwrap();
        assert!(!data.is_labelled() && dataset().is_labelled());
        data.truncate(1, 1);
        assert_eq!((data.train.count, data.test.count), (1, 1));
        assert!(data.checked().is_ok());
    }

    #[test]
    fn half_labelled_data_is_an_error() {
        let mut data = dataset();
        data.train_labels = vec![];
        let error = data.checked().unwrap_err().to_string();
        assert!(
            error.contains("training set: 2 images but 0 labels"),
            "{error}"
        );
        let mut data = dataset();
        (data.train_labels, data.test_labels) = (vec![], vec![]);
        data.checked().unwrap_err();
        let mut data = dataset();
        data.classes = 0;
        let error = data.checked().unwrap_err().to_string();
        assert!(error.contains("below 0"), "{error}");
    }

    #[test]
    fn train_and_test_of_different_shapes_are_an_error() {
        let mut data = dataset();
        (data.test.height, data.test.width) = (3, 1);
        let error = data.checked().unwrap_err().to_string();
        assert!(error.contains("1×3×1") && error.contains("3×1×1"));
    }

    #[test]
    fn counts_that_differ_are_an_error() {
        let mut data = dataset();
        data.test_labels.push(0);
        let error = data.checked().unwrap_err().to_string();
        assert!(error.contains("tiny test set: 1 images but 2 labels"));
    }

    #[test]
    fn the_first_label_out_of_range_is_quoted() {
        let error = check_labels("labels", 4, &[0, 9, 10, 11], 10).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("label 10 at index 2"), "{text}");
        assert!(text.contains("below 10"), "{text}");
    }
}
