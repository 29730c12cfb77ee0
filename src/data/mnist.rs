//! MNIST, embedded: 60,000 training and 10,000 test images of handwritten digits, 28 by 28 bytes.
//!
//! Yann LeCun, Corinna Cortes, Christopher J. C. Burges, *The MNIST database of handwritten
//! digits*. `data/mnist/README.md` states origin, licence and checksums.

use super::{DataError, Dataset, idx};

/// A file of `data/mnist` as embedded: its name and its gzip bytes.
macro_rules! embedded {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist/", $name)).as_slice(),
        )
    };
}

type File = (&'static str, &'static [u8]);

const TRAIN_IMAGES: File = embedded!("train-images-idx3-ubyte.gz");
const TRAIN_LABELS: File = embedded!("train-labels-idx1-ubyte.gz");
const TEST_IMAGES: File = embedded!("t10k-images-idx3-ubyte.gz");
const TEST_LABELS: File = embedded!("t10k-labels-idx1-ubyte.gz");

/// Unpacks the embedded data set: ten classes, about 55 MB of bytes.
///
/// # Errors
///
/// [`DataError`] only if the program was built with damaged files.
pub fn load() -> Result<Dataset, DataError> {
    let images = |(name, bytes): File| idx::images_from_bytes(name, bytes);
    let labels = |(name, bytes): File| idx::labels_from_bytes(name, bytes);
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
    use std::io::Read;

    use flate2::read::MultiGzDecoder;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_embedded_files_are_the_published_ones() {
        for ((name, bytes), expected) in [
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
            let mut plain = Vec::new();
            MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
            let digest = Sha256::digest(&plain);
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{name}");
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
