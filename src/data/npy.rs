//! NumPy's `.npy` format: reading images and matrices, writing matrices.
//!
//! A file is `\x93NUMPY`, two version bytes, the length of the header, the header (a Python
//! dictionary as text), and the elements.

use std::path::Path;
use std::sync::Arc;

use byteorder::{ByteOrder, LittleEndian};

use super::npy_header::{self, Dtype, Header, LabelHeader};
use super::source::Source;
use super::{DataError, Images, Pixels, Range};
use crate::files::write_atomically;

/// A row-major matrix of finite numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Values per row.
    pub cols: usize,
    /// `rows * cols` values, row by row.
    pub values: Vec<f32>,
}

/// Reads an array of images.
///
/// The shape is `[images, height, width]`, `[images, height, width, channels]`, or `[images,
/// features]`, which has no picture shape and becomes images one pixel high. `u8` elements are
/// brightness from 0 to 255; `f32` and `f64` elements are brightness from 0 to 1.
///
/// # Errors
///
/// [`DataError`] if the file cannot be read; if it is not a `.npy` file of version 1 or 2; if its
/// elements are not little-endian `f32`, `f64` or `u8` in C order; if its length does not match
/// its shape; if an element is not finite, or outside `range` (pixels that were never divided by
/// 255); if bytes are only 0 and 1 (binary images saved as `u8` would turn nearly black).
pub fn read_images(path: &Path, range: Range) -> Result<Images, DataError> {
    images(Source::open(path)?, range)
}

/// Reads images from the bytes of a file; `origin` names them in messages.
///
/// # Errors
///
/// As [`read_images`].
pub fn images_from_bytes(origin: &str, bytes: &[u8]) -> Result<Images, DataError> {
    images(Source::from_bytes(origin, bytes)?, Range::Clean)
}

/// Reads an array of labels: integers of any size, of shape `[labels]` or `[labels, 1]`.
///
/// # Errors
///
/// [`DataError`] as [`read_images`], and if a label is not from 0 to 255.
pub fn read_labels(path: &Path) -> Result<Vec<u8>, DataError> {
    labels(Source::open(path)?)
}

/// Reads labels from the bytes of a file; `origin` names them in messages.
///
/// # Errors
///
/// As [`read_labels`].
pub fn labels_from_bytes(origin: &str, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    labels(Source::from_bytes(origin, bytes)?)
}

/// Reads an array of any finite values as a matrix, one row per entry of its first dimension.
///
/// The shapes are those of [`read_images`]. Values keep their scale: the byte 255 becomes 255.0.
///
/// # Errors
///
/// As [`read_images`], except that values have no range.
pub fn read_matrix(path: &Path) -> Result<Matrix, DataError> {
    matrix(Source::open(path)?)
}

/// Reads a matrix from the bytes of a file; `origin` names them in messages.
///
/// # Errors
///
/// As [`read_matrix`].
pub fn matrix_from_bytes(origin: &str, bytes: &[u8]) -> Result<Matrix, DataError> {
    matrix(Source::from_bytes(origin, bytes)?)
}

/// Writes a row-major `[rows, cols]` matrix of little-endian `f32`, whole or not at all.
///
/// # Errors
///
/// [`DataError::ArrayShape`] if `values` does not hold `rows * cols` values, and
/// [`DataError::File`] if writing fails.
pub fn write_matrix(
    path: &Path,
    rows: usize,
    cols: usize,
    values: &[f32],
) -> Result<(), DataError> {
    write_array(path, &[rows, cols], values)
}

/// Writes an array of little-endian `f32`, whole or not at all.
///
/// # Errors
///
/// As [`write_matrix`].
pub fn write_array(path: &Path, shape: &[usize], values: &[f32]) -> Result<(), DataError> {
    let count = shape.iter().try_fold(1, |a: usize, &b| a.checked_mul(b));
    if count != Some(values.len()) {
        return Err(DataError::ArrayShape {
            origin: path.display().to_string(),
            shape: shape.to_vec(),
            found: values.len(),
        });
    }
    write_atomically(path, |writer| {
        writer.write_all(&npy_header::for_array(shape))?;
        values
            .iter()
            .try_for_each(|value| writer.write_all(&value.to_le_bytes()))
    })?;
    Ok(())
}

/// An array of any accepted shape; `shape` is `[images, height, width, channels]`.
struct Array {
    origin: String,
    shape: [usize; 4],
    pixels: Pixels,
}

fn images(source: Source, range: Range) -> Result<Images, DataError> {
    let array = array(source)?;
    let [count, height, width, channels] = array.shape;
    let images = Images {
        count,
        height,
        width,
        channels,
        pixels: array.pixels,
    };
    match &images.pixels {
        Pixels::Real(values) => {
            match first_outside(values, images.features(), |value| range.contains(value)) {
                Some((row, column, value)) => Err(DataError::OutOfRange {
                    origin: array.origin,
                    row,
                    column,
                    value,
                    range,
                }),
                None => Ok(images),
            }
        }
        _ if is_binary(&images)? => Err(DataError::BinaryBytes {
            origin: array.origin,
        }),
        _ => Ok(images),
    }
}

/// Whether bytes are 0 and 1 alone. Few images are looked at where they are not.
fn is_binary(images: &Images) -> Result<bool, DataError> {
    let features = images.features();
    let at_a_time = ((1 << 20) / features).max(1);
    let mut bytes = vec![0; at_a_time * features];
    let mut largest = 0;
    for first in (0..images.count).step_by(at_a_time) {
        let block = first..images.count.min(first + at_a_time);
        let bytes = &mut bytes[..block.len() * features];
        images.copy_bytes(block, bytes)?;
        largest = bytes.iter().copied().fold(largest, u8::max);
        if largest > 1 {
            break;
        }
    }
    Ok(largest == 1)
}

fn labels(mut source: Source) -> Result<Vec<u8>, DataError> {
    let LabelHeader {
        count,
        width,
        signed,
    } = LabelHeader::read(&mut source)?;
    let origin = source.origin.clone();
    let bytes = source.array(&[count], width)?;
    let label = |(index, bytes): (usize, &[u8])| {
        let fill = match signed && bytes.last().is_some_and(|&byte| byte >= 128) {
            true => 255,
            false => 0,
        };
        let mut wide = [fill; 16];
        wide[..bytes.len()].copy_from_slice(bytes);
        let value = LittleEndian::read_i128(&wide);
        u8::try_from(value).map_err(|_| DataError::LabelValue {
            origin: origin.clone(),
            index,
            value,
        })
    };
    bytes
        .chunks_exact(width as usize)
        .enumerate()
        .map(label)
        .collect()
}

fn matrix(source: Source) -> Result<Matrix, DataError> {
    let array = array(source)?;
    let [rows, height, width, channels] = array.shape;
    Ok(Matrix {
        rows,
        cols: height * width * channels,
        values: match array.pixels {
            Pixels::Real(values) => Arc::unwrap_or_clone(values),
            pixels => {
                let images = Images {
                    count: rows,
                    height,
                    width,
                    channels,
                    pixels,
                };
                let mut bytes = vec![0; rows * images.features()];
                images.copy_bytes(0..rows, &mut bytes)?;
                bytes.into_iter().map(f32::from).collect()
            }
        },
    })
}

fn array(mut source: Source) -> Result<Array, DataError> {
    let Header { dtype, shape } = Header::read(&mut source)?;
    let origin = source.origin.clone();
    let full = match *shape {
        [n, d] => [n, 1, d, 1],
        [n, h, w] => [n, h, w, 1],
        [n, h, w, c] => [n, h, w, c],
        _ => return Err(DataError::NpyRank { origin, shape }),
    };
    let pixels = match dtype {
        Dtype::U8 => source.images(&shape)?,
        Dtype::F32 => {
            let bytes = source.array(&shape, dtype.width())?;
            let mut values = vec![0.0; bytes.len() / 4];
            LittleEndian::read_f32_into(&bytes, &mut values);
            Pixels::Real(values.into())
        }
        Dtype::F64 => {
            let bytes = source.array(&shape, dtype.width())?;
            let values = bytes.chunks_exact(8).map(LittleEndian::read_f64);
            Pixels::Real(
                values
                    .map(|value| value as f32)
                    .collect::<Vec<f32>>()
                    .into(),
            )
        }
    };
    let [n, h, w, c] = full.map(|dim| dim as usize);
    if let Pixels::Real(values) = &pixels
        && let Some((row, column, value)) = first_outside(values, h * w * c, f32::is_finite)
    {
        return Err(DataError::NotFinite {
            origin,
            row,
            column,
            value,
        });
    }
    Ok(Array {
        origin,
        shape: [n, h, w, c],
        pixels,
    })
}

/// Row, column and value of the first element that is not accepted.
fn first_outside(
    values: &[f32],
    cols: usize,
    accept: impl Fn(f32) -> bool,
) -> Option<(usize, usize, f32)> {
    let at = values.iter().position(|&value| !accept(value))?;
    Some((at / cols, at % cols, values[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_any_integer_type_are_read_and_must_fit_a_byte() {
        let dict =
            |descr| format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}");
        let read =
            |descr, elements: &[u8]| labels_from_bytes("here", &file(&dict(descr), elements));
        assert_eq!(read("|u1", &[7, 255]).unwrap(), [7, 255]);
        let wide = [7_i64, 255].map(i64::to_le_bytes).concat();
        assert_eq!(read("<i8", &wide).unwrap(), [7, 255]);
        for (value, text) in [(-1, "-1"), (256, "256")] {
            let elements = [7_i32, value].map(i32::to_le_bytes).concat();
            let error = read("<i4", &elements).unwrap_err().to_string();
            assert!(
                error.contains(&format!("label {text} at index 1")),
                "{error}"
            );
        }
        assert!(read("<i8", &wide[..9]).is_err());
    }

    fn file(dict: &str, elements: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((dict.len() as u16).to_le_bytes());
        bytes.extend(dict.as_bytes());
        bytes.extend(elements);
        bytes
    }

    fn typed(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
        let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        file(&dict, elements)
    }

    fn floats(shape: &str, values: &[f32]) -> Vec<u8> {
        let elements: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        typed("<f4", shape, &elements)
    }

    fn error(bytes: &[u8]) -> DataError {
        images_from_bytes("here", bytes).unwrap_err()
    }

    #[test]
    fn a_written_matrix_reads_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("codes.npy");
        let values = [1.5, -2.0, 0.0, f32::MIN_POSITIVE, f32::MAX, -0.1];
        write_matrix(&path, 3, 2, &values).unwrap();
        let matrix = read_matrix(&path).unwrap();
        assert_eq!((matrix.rows, matrix.cols), (3, 2));
        assert_eq!(matrix.values, values);
    }

    #[test]
    fn a_matrix_of_another_size_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("codes.npy");
        for (rows, cols) in [(2, 2), (usize::MAX, 2)] {
            let error = write_matrix(&path, rows, cols, &[0.0; 3]).unwrap_err();
            assert!(matches!(error, DataError::ArrayShape { .. }), "{error}");
        }
        assert!(!path.exists());
    }

    #[test]
    fn bytes_are_pixels_of_255_and_matrix_values_as_they_are() {
        let bytes = typed("|u1", "(2, 2, 1)", &[0, 255, 51, 1]);
        let images = images_from_bytes("here", &bytes).unwrap();
        assert_eq!(images.pixels, Pixels::Bytes(vec![0, 255, 51, 1].into()));
        let matrix = matrix_from_bytes("here", &bytes).unwrap();
        assert_eq!(matrix.values, [0.0, 255.0, 51.0, 1.0]);
    }

    #[test]
    fn doubles_become_floats() {
        let elements = [0.1f64, 1.0].map(f64::to_le_bytes).concat();
        let images = images_from_bytes("here", &typed("<f8", "(1, 2)", &elements)).unwrap();
        assert_eq!(images.pixels, Pixels::Real(vec![0.1, 1.0].into()));
    }

    #[test]
    fn every_accepted_rank_gets_its_picture_shape() {
        for (shape, picture) in [
            ("(1, 6)", [1, 1, 6, 1]),
            ("(1, 2, 3)", [1, 2, 3, 1]),
            ("(1, 1, 2, 3)", [1, 1, 2, 3]),
        ] {
            let images = images_from_bytes("here", &floats(shape, &[0.5; 6])).unwrap();
            let [height, width] = images.shape().size();
            assert_eq!([images.count, height, width, images.channels], picture);
            assert_eq!(images.features(), 6);
        }
    }

    #[test]
    fn other_ranks_are_an_error() {
        for shape in ["()", "(6,)", "(1, 1, 1, 2, 3)"] {
            let error = error(&floats(shape, &[0.5; 6]));
            assert!(matches!(error, DataError::NpyRank { .. }), "{error}");
        }
    }

    #[test]
    fn zero_rows_and_zero_columns_are_errors() {
        for shape in ["(0, 4)", "(4, 0)"] {
            let error = error(&floats(shape, &[]));
            assert!(matches!(error, DataError::Empty { .. }), "{error}");
        }
    }

    #[test]
    fn a_length_that_does_not_match_the_shape_is_an_error() {
        let short = error(&floats("(2, 3)", &[0.5; 5]));
        assert!(
            short.to_string().contains("[2, 3] takes 24 bytes"),
            "{short}"
        );
        assert!(
            matches!(short, DataError::Short { found: 20, .. }),
            "{short}"
        );
        let long = error(&floats("(2, 3)", &[0.5; 7]));
        assert!(matches!(long, DataError::Trailing { .. }), "{long}");
    }

    #[test]
    fn a_shape_beyond_memory_or_64_bits_is_an_error() {
        for shape in ["(1099511627776, 1)", "(18446744073709551615, 2)"] {
            let error = error(&floats(shape, &[0.5]));
            assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
        }
    }

    #[test]
    fn values_that_are_not_finite_are_located() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let bytes = floats("(2, 3)", &[0.0, 0.0, 0.0, 0.0, value, 0.0]);
            for error in [
                images_from_bytes("here", &bytes).unwrap_err(),
                matrix_from_bytes("here", &bytes).unwrap_err(),
            ] {
                let text = error.to_string();
                assert!(text.contains("row 1, column 1"), "{text}");
            }
        }
    }

    #[test]
    fn a_double_too_large_for_a_float_is_an_error() {
        let error = error(&typed("<f8", "(1, 1)", &1e300f64.to_le_bytes()));
        assert!(matches!(error, DataError::NotFinite { .. }), "{error}");
    }

    #[test]
    fn unscaled_pixels_are_an_error_for_images_only() {
        let bytes = floats("(2, 2)", &[0.0, 0.5, 128.0, 255.0]);
        let text = error(&bytes).to_string();
        assert!(text.contains("128 in row 1, column 0"), "{text}");
        assert!(text.contains("by 255"), "{text}");
        assert!(matrix_from_bytes("here", &bytes).is_ok());
        let negative = error(&floats("(1, 1)", &[-0.25]));
        assert!(matches!(negative, DataError::OutOfRange { .. }));
    }

    #[test]
    fn binary_images_saved_as_bytes_are_an_error() {
        let error = error(&typed("|u1", "(1, 2)", &[0, 1]));
        assert!(matches!(error, DataError::BinaryBytes { .. }), "{error}");
    }
}
