//! What the tests of data sets share.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use diabolo::data::{DataError, Images, mnist};
use diabolo::data::{Selection, load};
use diabolo::image::ImageShape;
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{Rgb, RgbImage};
use tempfile::TempDir;

pub fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

pub fn select(name: &str, path: &Path) -> Selection {
    Selection {
        path: Some(path.to_owned()),
        ..Selection::named(name)
    }
}

/// The message of what must have failed. Data itself would fill the screen.
pub fn message<T>(result: Result<T, DataError>) -> String {
    let error = result.err().expect("must fail");
    error.to_string()
}

pub fn failure(selection: &Selection) -> String {
    message(load(selection, 0))
}

pub fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

pub fn shape(height: usize, width: usize, channels: usize) -> ImageShape {
    ImageShape {
        height,
        width,
        channels,
    }
}

pub fn bytes(images: &Images) -> Vec<u8> {
    let mut bytes = vec![0; images.count * images.features()];
    images
        .copy_bytes(0..images.count, &mut bytes)
        .expect("readable");
    bytes
}

/// A picture of one colour.
pub fn save(path: PathBuf, height: u32, width: u32, rgb: [u8; 3]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, Rgb(rgb))
        .save(path)
        .unwrap();
}

/// Writes the four published files of MNIST to a folder, compressed with gzip.
pub fn write_mnist(folder: &Path) {
    for name in [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ] {
        let bytes = mnist::idx_file(name)
            .expect("undamaged")
            .expect("one of the four");
        let file = File::create(folder.join(format!("{name}.gz"))).expect("created");
        let mut gzip = GzEncoder::new(file, Compression::fast());
        gzip.write_all(&bytes).expect("written");
        gzip.finish().expect("written");
    }
}
