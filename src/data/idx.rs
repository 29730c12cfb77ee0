//! The IDX format of the MNIST files, plain or gzip.
//!
//! A big-endian `u32` says what follows (two zero bytes, the element type, the number of
//! dimensions), then comes each dimension as a big-endian `u32`, then the elements, row-major.

use std::path::Path;

use byteorder::{BigEndian, ByteOrder};

use super::source::Source;
use super::{DataError, Images};

/// Unsigned bytes (8) in three dimensions.
const IMAGES: u32 = 0x0000_0803;
/// Unsigned bytes (8) in one dimension.
const LABELS: u32 = 0x0000_0801;

/// Reads a file of images, `[count, height, width]` bytes.
///
/// # Errors
///
/// [`DataError`] if the file cannot be read, is not an IDX file of images, is empty, damaged,
/// shorter or longer than its header claims.
pub fn read_images(path: &Path) -> Result<Images, DataError> {
    images(Source::open(path)?)
}

/// Reads images from the bytes of a file; `origin` names them in messages.
///
/// # Errors
///
/// As [`read_images`].
pub fn images_from_bytes(origin: &str, bytes: &[u8]) -> Result<Images, DataError> {
    images(Source::from_bytes(origin, bytes)?)
}

/// Reads a file of labels, `[count]` bytes.
///
/// [`check_labels`](super::check_labels) tells whether they fit their images.
///
/// # Errors
///
/// As [`read_images`].
pub fn read_labels(path: &Path) -> Result<Vec<u8>, DataError> {
    labels(Source::open(path)?)
}

/// Reads labels from the bytes of a file; `origin` names them in messages.
///
/// # Errors
///
/// As [`read_images`].
pub fn labels_from_bytes(origin: &str, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    labels(Source::from_bytes(origin, bytes)?)
}

fn images(mut source: Source) -> Result<Images, DataError> {
    let shape: [u64; 3] = header(&mut source, "images", IMAGES)?;
    let pixels = source.images(&shape)?;
    let [count, height, width] = shape.map(|dim| dim as usize);
    Ok(Images {
        count,
        height,
        width,
        channels: 1,
        pixels,
    })
}

fn labels(mut source: Source) -> Result<Vec<u8>, DataError> {
    let shape: [u64; 1] = header(&mut source, "labels", LABELS)?;
    source.array(&shape, 1)
}

/// What stands before `[count, height, width]` bytes of images.
pub(super) fn image_header(shape: [usize; 3]) -> Vec<u8> {
    words(IMAGES, &shape)
}

/// What stands before `count` labels.
pub(super) fn label_header(count: usize) -> Vec<u8> {
    words(LABELS, &[count])
}

fn words(magic: u32, dims: &[usize]) -> Vec<u8> {
    let dims = dims.iter().map(|&dim| dim as u32);
    let words = std::iter::once(magic).chain(dims);
    words.flat_map(u32::to_be_bytes).collect()
}

/// The `D` dimensions of a file that must start with `magic`.
fn header<const D: usize>(
    source: &mut Source,
    what: &'static str,
    magic: u32,
) -> Result<[u64; D], DataError> {
    let found = BigEndian::read_u32(&source.header::<4>()?);
    if found != magic {
        return Err(DataError::IdxMagic {
            origin: source.origin.clone(),
            what,
            expected: magic,
            found,
        });
    }
    let mut shape = [0; D];
    for dim in &mut shape {
        *dim = u64::from(BigEndian::read_u32(&source.header::<4>()?));
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::data::Pixels;

    fn file(magic: u32, dims: &[u32], elements: &[u8]) -> Vec<u8> {
        let dims: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
        let mut bytes = words(magic, &dims);
        bytes.extend(elements);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn two_images() -> Vec<u8> {
        file(IMAGES, &[2, 1, 3], &[1, 2, 3, 4, 5, 6])
    }

    fn error(bytes: &[u8]) -> DataError {
        images_from_bytes("here", bytes).unwrap_err()
    }

    #[test]
    fn images_are_read_plain_and_gzip_alike() {
        let plain = images_from_bytes("plain", &two_images()).unwrap();
        assert_eq!((plain.count, plain.height, plain.width), (2, 1, 3));
        assert_eq!(plain.channels, 1);
        assert_eq!(plain.pixels, Pixels::Bytes(vec![1, 2, 3, 4, 5, 6].into()));
        assert_eq!(
            images_from_bytes("gz", &gzip(&two_images())).unwrap(),
            plain
        );
    }

    #[test]
    fn files_are_read_from_a_path_whatever_their_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels");
        std::fs::write(&path, gzip(&file(LABELS, &[3], &[7, 8, 9]))).unwrap();
        assert_eq!(read_labels(&path).unwrap(), [7, 8, 9]);
        assert!(matches!(
            read_images(&path),
            Err(DataError::IdxMagic { .. })
        ));
    }

    #[test]
    fn a_missing_file_and_a_folder_are_errors_that_name_the_path() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), &folder.path().join("absent")] {
            let error = read_images(path).unwrap_err();
            assert!(matches!(error, DataError::Read { .. }));
            assert!(error.to_string().contains(path.to_str().unwrap()));
        }
    }

    #[test]
    fn labels_in_place_of_images_are_an_error_that_quotes_both_magics() {
        let text = error(&file(LABELS, &[1], &[0])).to_string();
        assert!(text.contains("0x00000803"), "{text}");
        assert!(text.contains("0x00000801"), "{text}");
        assert!(text.contains("swapped"), "{text}");
    }

    #[test]
    fn a_header_that_stops_early_is_an_error() {
        for length in 0..16 {
            let error = error(&two_images()[..length]);
            assert!(matches!(error, DataError::HeaderShort { .. }), "{error}");
        }
    }

    #[test]
    fn a_header_that_claims_more_than_the_file_is_an_error() {
        // 256 MiB claimed, three bytes there.
        let error = error(&file(IMAGES, &[1 << 12, 1 << 8, 1 << 8], &[1, 2, 3]));
        let DataError::Short {
            expected, found, ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((expected, found), (1 << 28, 3));
    }

    #[test]
    fn a_header_that_claims_more_than_memory_or_64_bits_is_an_error() {
        for dims in [[1 << 20, 1 << 10, 1 << 10], [u32::MAX; 3]] {
            for bytes in [file(IMAGES, &dims, &[]), gzip(&file(IMAGES, &dims, &[]))] {
                assert!(matches!(error(&bytes), DataError::TooLarge { .. }));
            }
        }
    }

    #[test]
    fn bytes_after_the_last_element_are_an_error() {
        let mut bytes = two_images();
        bytes.push(0);
        for bytes in [gzip(&bytes), bytes] {
            assert!(matches!(error(&bytes), DataError::Trailing { .. }));
        }
    }

    #[test]
    fn bytes_after_a_gzip_stream_are_an_error() {
        let mut bytes = gzip(&two_images());
        bytes.extend(b"stray bytes at the end");
        assert!(matches!(error(&bytes), DataError::GzipDamaged { .. }));
    }

    #[test]
    fn a_gzip_stream_cut_anywhere_is_an_error() {
        let bytes = gzip(&two_images());
        for length in 2..bytes.len() {
            let error = error(&bytes[..length]);
            assert!(matches!(error, DataError::GzipTruncated { .. }), "{error}");
        }
    }

    #[test]
    fn a_wrong_gzip_checksum_is_an_error() {
        let mut bytes = gzip(&two_images());
        let checksum = bytes.len() - 8;
        bytes[checksum] ^= 1;
        assert!(matches!(error(&bytes), DataError::GzipDamaged { .. }));
    }

    #[test]
    fn zero_images_and_images_without_pixels_are_errors() {
        for dims in [[0, 28, 28], [2, 0, 28], [2, 28, 0]] {
            let error = error(&file(IMAGES, &dims, &[]));
            assert!(matches!(error, DataError::Empty { .. }), "{error}");
        }
        let error = labels_from_bytes("none", &file(LABELS, &[0], &[])).unwrap_err();
        assert!(matches!(error, DataError::Empty { .. }), "{error}");
    }
}
