//! Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28 by 28 bytes.
//!
//! Han Xiao, Kashif Rasul, Roland Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking
//! Machine Learning Algorithms*, arXiv:1708.07747. Four IDX files.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::source::Source;
use super::{DataError, Dataset, Images, PublishedFile, cache, idx};

/// Where Debian's package `dataset-fashion-mnist` puts it.
const SYSTEM: &str = "/usr/share/datasets/fashion-mnist";

macro_rules! file {
    ($name:literal, $bytes:literal, $sha256:literal, $content_bytes:literal, $content:literal) => {
        PublishedFile {
            name: $name,
            bytes: $bytes,
            sha256: $sha256,
            content: Some(($content_bytes, $content)),
            urls: &[
                concat!(
                    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                    $name
                ),
                concat!(
                    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
                    $name
                ),
            ],
        }
    };
}

/// Training images, training labels, test images, test labels.
pub(super) const FILES: [PublishedFile; 4] = [
    file!(
        "train-images-idx3-ubyte.gz",
        26_421_880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        47_040_016,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    file!(
        "train-labels-idx1-ubyte.gz",
        29_515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        60_008,
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
    ),
    file!(
        "t10k-images-idx3-ubyte.gz",
        4_422_102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        7_840_016,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    ),
    file!(
        "t10k-labels-idx1-ubyte.gz",
        5_148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        10_008,
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
    ),
];

/// The folder that has all four files, of those that are looked in.
///
/// # Errors
///
/// [`DataError::Absent`] if none has.
pub fn find(cache: Option<&Path>) -> Result<PathBuf, DataError> {
    let cache = cache::of("fashion-mnist", cache).ok();
    let looked: Vec<PathBuf> = cache.into_iter().chain([PathBuf::from(SYSTEM)]).collect();
    let whole = |folder: &&PathBuf| FILES.iter().all(|file| present(folder, file).is_some());
    match looked.iter().find(whole) {
        Some(folder) => Ok(folder.clone()),
        None => Err(absent(looked)),
    }
}

/// Reads the folder `path`, else the first folder that [`find`] knows.
///
/// The files may be compressed in any way, or not at all: what they hold is checked.
///
/// # Errors
///
/// [`DataError`] if a file is missing, unreadable, or not the published one.
pub fn load(path: Option<&Path>, cache: Option<&Path>) -> Result<Dataset, DataError> {
    let folder = match path {
        Some(path) => path.to_owned(),
        None => find(cache)?,
    };
    let read = |file: &PublishedFile| -> Result<(String, Vec<u8>), DataError> {
        let path = present(&folder, file).ok_or_else(|| absent(vec![folder.join(file.name)]))?;
        let bytes = checked(&path, file)?;
        Ok((path.display().to_string(), bytes))
    };
    let images = |file| -> Result<Images, DataError> {
        let (origin, bytes) = read(file)?;
        idx::images_from_bytes(&origin, &bytes)
    };
    let labels = |file| -> Result<Vec<u8>, DataError> {
        let (origin, bytes) = read(file)?;
        idx::labels_from_bytes(&origin, &bytes)
    };
    let [train_images, train_labels, test_images, test_labels] = &FILES;
    Dataset {
        name: "Fashion-MNIST".to_owned(),
        train: images(train_images)?,
        train_labels: labels(train_labels)?,
        test: images(test_images)?,
        test_labels: labels(test_labels)?,
        classes: 10,
        class_names: vec![],
    }
    .checked()
}

/// The file in that folder, compressed or not.
fn present(folder: &Path, file: &PublishedFile) -> Option<PathBuf> {
    let plain = file.name.strip_suffix(".gz").unwrap_or(file.name);
    let paths = [folder.join(file.name), folder.join(plain)];
    paths.into_iter().find(|path| path.is_file())
}

/// What the file unpacks to, if that is what was published.
fn checked(path: &Path, file: &PublishedFile) -> Result<Vec<u8>, DataError> {
    let (length, expected) = file.content.unwrap_or((file.bytes, file.sha256));
    let mut source = Source::open(path)?;
    // One byte more than expected, to tell a longer file.
    let bytes = source.read_up_to(length + 1)?;
    let found = super::hex(&Sha256::digest(&bytes));
    match found == expected {
        true => Ok(bytes),
        false => Err(DataError::Checksum {
            origin: format!("{} (unpacked)", path.display()),
            found,
            expected: expected.to_owned(),
        }),
    }
}

fn absent(looked: Vec<PathBuf>) -> DataError {
    DataError::Absent {
        title: "Fashion-MNIST".to_owned(),
        looked,
        advice: "run `diabolo data fetch fashion-mnist`, or install Debian's package \
                 dataset-fashion-mnist"
            .to_owned(),
    }
}
