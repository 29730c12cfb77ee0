//! What can be wrong with data, and what to do about it.

use std::io;

use thiserror::Error;

use crate::files::FileError;
use crate::image::ImageShape;

/// A data set could not be read, checked, drawn from or written.
///
/// Every message is whole on its own: where, what was found, what was expected, what to do.
/// `origin` is the path of the file, or the name of embedded bytes. Positions count from 0.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs)] // Each message below names its fields.
pub enum DataError {
    /// The operating system refused.
    #[error("cannot read {origin}: {source}; check that the file exists and may be read")]
    Read { origin: String, source: io::Error },

    /// The compressed stream stops early.
    #[error(
        "{origin} ends inside a gzip stream: it is cut short, or stray bytes follow its end; \
         fetch or compress it again"
    )]
    GzipTruncated { origin: String },

    /// The compressed stream does not decode, or fails its checksum.
    #[error("{origin} is a damaged gzip file: {source}; fetch or compress it again")]
    GzipDamaged { origin: String, source: io::Error },

    /// There are fewer bytes than any file of the format has.
    #[error(
        "{origin} is too short: expected a header of {expected} bytes, found {found}; \
         check that this is the right file"
    )]
    HeaderShort {
        origin: String,
        expected: usize,
        found: usize,
    },

    /// The file is of another kind.
    #[error(
        "{origin} is not an IDX file of {what}: expected it to start with {expected:#010x}, \
         found {found:#010x}; give a file of {what} (are images and labels swapped?)"
    )]
    IdxMagic {
        origin: String,
        what: &'static str,
        expected: u32,
        found: u32,
    },

    /// A dimension is zero.
    #[error("{origin} is empty: its shape is {shape:?}; expected every dimension to be at least 1")]
    Empty { origin: String, shape: Vec<u64> },

    /// The header claims more than this crate reads.
    #[error(
        "{origin} claims shape {shape:?}, over the limit of {limit} bytes; \
         if that is its true shape, split it into smaller files"
    )]
    TooLarge {
        origin: String,
        shape: Vec<u64>,
        limit: u64,
    },

    /// The header claims more than the file holds.
    #[error(
        "{origin} is cut short: shape {shape:?} takes {expected} bytes after the header, \
         found {found}; fetch or save it again"
    )]
    Short {
        origin: String,
        shape: Vec<u64>,
        expected: u64,
        found: u64,
    },

    /// The file holds more than the header claims.
    #[error(
        "{origin} is too long: shape {shape:?} takes {expected} bytes after the header, \
         but more follow; fetch or save it again"
    )]
    Trailing {
        origin: String,
        shape: Vec<u64>,
        expected: u64,
    },

    /// The header of a `.npy` file does not follow the format.
    #[error("{origin} is not a .npy file this program reads: {problem}; save it with numpy.save")]
    NpyHeader { origin: String, problem: String },

    /// The elements have a type that is not read.
    #[error(
        "{origin} holds elements of dtype {descr}, {problem}; expected '<f4', '<f8' or '|u1'; \
         save x.astype('<f4') instead"
    )]
    NpyDtype {
        origin: String,
        descr: String,
        problem: &'static str,
    },

    /// The elements lie column by column.
    #[error(
        "{origin} stores its {shape:?} array in Fortran order; expected C order (row by row); \
         save numpy.ascontiguousarray(x) instead"
    )]
    NpyFortranOrder { origin: String, shape: Vec<u64> },

    /// The array is not a list of rows or images.
    #[error(
        "{origin} holds an array of shape {shape:?}; expected [rows, features], \
         [images, height, width] or [images, height, width, channels]; use numpy.reshape"
    )]
    NpyRank { origin: String, shape: Vec<u64> },

    /// A value is NaN, infinite, or too large for 32 bits.
    #[error(
        "{origin} has {value} in row {row}, column {column} (from 0); expected only numbers that are \
         finite as 32-bit floats; remove or replace it"
    )]
    NotFinite {
        origin: String,
        row: usize,
        column: usize,
        value: f32,
    },

    /// A pixel is no fraction of full brightness.
    #[error(
        "{origin} has {value} in row {row}, column {column} (from 0); expected pixels in [0, 1]; \
         divide pixels of 0..255 by 255, and rescale or clip any others"
    )]
    OutOfRange {
        origin: String,
        row: usize,
        column: usize,
        value: f32,
    },

    /// Bytes that can only be meant as 0 and 1 would be read as nearly black.
    #[error(
        "{origin} holds only the bytes 0 and 1; expected bytes up to 255 (full brightness); \
         save x.astype('<f4') for binary images"
    )]
    BinaryBytes { origin: String },

    /// A matrix to be written is not of its stated shape.
    #[error("cannot write {origin}: {rows} rows of {cols} do not make {found} values")]
    MatrixShape {
        origin: String,
        rows: usize,
        cols: usize,
        found: usize,
    },

    /// Training and test images cannot go through one model.
    #[error(
        "{name}: training images are {train} and test images {test} \
         (height×width×channels); give two files of the same shape"
    )]
    ShapeMismatch {
        name: String,
        train: ImageShape,
        test: ImageShape,
    },

    /// Images and labels do not belong together.
    #[error("{origin}: {images} images but {labels} labels; give two files of the same set")]
    CountMismatch {
        origin: String,
        images: usize,
        labels: usize,
    },

    /// A label names no class.
    #[error(
        "{origin}: label {label} at index {index} (from 0), expected labels below {classes} \
         (the number of classes); correct the label or the number of classes"
    )]
    LabelRange {
        origin: String,
        index: usize,
        label: u8,
        classes: usize,
    },

    /// A draw of nothing was asked for.
    #[error("the sizes of label draws are {sizes:?}; expected at least one, each 1 or more")]
    DrawSizes { sizes: Vec<usize> },

    /// A draw would need more examples than there are.
    #[error(
        "a uniform draw of {size} labels needs {size} examples, found {available}; \
         ask for fewer labels"
    )]
    TooFew { size: usize, available: usize },

    /// A class has too few examples for its share.
    #[error(
        "a balanced draw of {size} labels needs {needed} examples of class {class}, \
         found {available}; ask for fewer labels or for uniform draws"
    )]
    TooFewOfClass {
        size: usize,
        class: usize,
        needed: usize,
        available: usize,
    },

    /// The draws would not fit in memory.
    #[error(
        "{draws} draws of {size} labels out of {examples} are too many: \
         expected at most {limit} indices in all; ask for fewer draws"
    )]
    TooManyDraws {
        draws: usize,
        size: usize,
        examples: usize,
        limit: usize,
    },

    /// Writing failed.
    #[error(transparent)]
    File(#[from] FileError),
}
