//! MNIST, embedded: 60,000 training and 10,000 test images of handwritten digits, 28 by 28 bytes.
//!
//! Yann LeCun, Corinna Cortes, Christopher J. C. Burges, *The MNIST database of handwritten
//! digits*. `data/mnist/README.md` states origin, licence and checksums.

use std::io::Read;

use brotli_decompressor::Decompressor;

use super::{DataError, Dataset, idx};

/// An IDX file, as it is embedded: its published name, its length, and its bytes as Brotli packed them
/// (for images a fifth smaller than gzip's).
struct File {
    name: &'static str,
    len: usize,
    packed: &'static [u8],
}

macro_rules! embedded {
    ($name:literal, $len:literal) => {
        File {
            name: $name,
            len: $len,
            packed: include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/data/mnist/",
                $name,
                ".br"
            )),
        }
    };
}

const TRAIN_IMAGES: File = embedded!("train-images-idx3-ubyte", 47_040_016);
const TRAIN_LABELS: File = embedded!("train-labels-idx1-ubyte", 60_008);
const TEST_IMAGES: File = embedded!("t10k-images-idx3-ubyte", 7_840_016);
const TEST_LABELS: File = embedded!("t10k-labels-idx1-ubyte", 10_008);

impl File {
    fn unpacked(&self) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::with_capacity(self.len);
        let read = Decompressor::new(self.packed, BUFFER).read_to_end(&mut bytes);
        read.map_err(|source| DataError::Read {
            origin: self.name.to_owned(),
            source,
        })?;
        Ok(bytes)
    }
}

/// Bytes that are unpacked at a time.
const BUFFER: usize = 1 << 16;

/// One of the four published IDX files, `train-images-idx3-ubyte` for example; none of another name.
///
/// # Errors
///
/// [`DataError`] only if the program was built with damaged files.
pub fn idx_file(name: &str) -> Result<Option<Vec<u8>>, DataError> {
    let files = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS];
    let file = files.into_iter().find(|file| file.name == name);
    file.map(|file| file.unpacked()).transpose()
}

/// Unpacks the embedded data set: ten classes, about 55 MB of bytes.
///
/// # Errors
///
/// [`DataError`] only if the program was built with damaged files.
pub fn load() -> Result<Dataset, DataError> {
    let images = |file: File| idx::images_from_bytes(file.name, &file.unpacked()?);
    let labels = |file: File| idx::labels_from_bytes(file.name, &file.unpacked()?);
    Dataset {
        name: "MNIST".to_owned(),
        train: images(TRAIN_IMAGES)?,
        train_labels: labels(TRAIN_LABELS)?,
        test: images(TEST_IMAGES)?,
        test_labels: labels(TEST_LABELS)?,
        classes: 10,
        class_names: vec![],
    }
    .checked()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_embedded_files_are_the_published_ones() {
        for (file, expected) in [
            (
                TRAIN_IMAGES,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            (
                TRAIN_LABELS,
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            (
                TEST_IMAGES,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            (
                TEST_LABELS,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ] {
            let plain = file.unpacked().unwrap();
            assert_eq!(plain.len(), file.len);
            let digest = Sha256::digest(&plain);
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{}", file.name);
        }
    }

    #[test]
    fn the_embedded_set_loads_with_its_known_shape() {
        let data = load().unwrap();
        assert_eq!((data.train.count, data.test.count), (60_000, 10_000));
        assert_eq!(data.train.shape().to_string(), "28×28×1");
        assert_eq!(data.train.features(), 784);
        assert_eq!(data.train_labels[..5], [5, 0, 4, 1, 9]);
        assert_eq!(data.test_labels[..5], [7, 2, 1, 0, 4]);
    }
}
