//! What can be wrong with data, and what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::Range;
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
    #[error("cannot read {origin}: {source}\nhint: check that the file exists and may be read")]
    Read { origin: String, source: io::Error },

    /// The file has lost its end since it was opened.
    #[error(
        "{origin} has been cut short since it was opened: it ends before byte {expected}\nhint: leave a \
         file as it is while images are read from it"
    )]
    CutShort { origin: String, expected: u64 },

    /// The compressed stream stops early.
    #[error(
        "{origin} ends inside a gzip stream: it is cut short, or stray bytes follow its end\n\
         hint: fetch or compress it again"
    )]
    GzipTruncated { origin: String },

    /// The compressed stream does not decode, or fails its checksum.
    #[error("{origin} is a damaged gzip file: {source}\nhint: fetch or compress it again")]
    GzipDamaged { origin: String, source: io::Error },

    /// There are fewer bytes than any file of the format has.
    #[error(
        "{origin} is too short: expected a header of {expected} bytes, found {found}\n\
         hint: check that this is the right file"
    )]
    HeaderShort {
        origin: String,
        expected: usize,
        found: usize,
    },

    /// The file is of another kind.
    #[error(
        "{origin} is not an IDX file of {what}: expected it to start with {expected:#010x}, \
         found {found:#010x}\nhint: give a file of {what} (are images and labels swapped?)"
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
        "{origin} claims shape {shape:?}, over the limit of {limit} bytes\nhint: if that is its true shape, \
         split it into smaller files, or save images as bytes, uncompressed: those stay on the disk"
    )]
    TooLarge {
        origin: String,
        shape: Vec<u64>,
        limit: u64,
    },

    /// The header claims more than the file holds.
    #[error(
        "{origin} is cut short: shape {shape:?} takes {expected} bytes after the header, \
         found {found}\nhint: fetch or save it again"
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
         but more follow\nhint: fetch or save it again"
    )]
    Trailing {
        origin: String,
        shape: Vec<u64>,
        expected: u64,
    },

    /// The header of a `.npy` file does not follow the format.
    #[error(
        "{origin} is not a .npy file this program reads: {problem}\nhint: save it with numpy.save"
    )]
    NpyHeader { origin: String, problem: String },

    /// The elements have a type that is not read.
    #[error(
        "{origin} holds elements of dtype {descr}, {problem}; expected '<f4', '<f8' or '|u1'\n\
         hint: save x.astype('<f4') instead"
    )]
    NpyDtype {
        origin: String,
        descr: String,
        problem: &'static str,
    },

    /// The elements lie column by column.
    #[error(
        "{origin} stores its {shape:?} array in Fortran order; expected C order (row by row)\n\
         hint: save numpy.ascontiguousarray(x) instead"
    )]
    NpyFortranOrder { origin: String, shape: Vec<u64> },

    /// The array is not a list of rows or images.
    #[error(
        "{origin} holds an array of shape {shape:?}; expected [rows, features], \
         [images, height, width] or [images, height, width, channels]\nhint: use numpy.reshape"
    )]
    NpyRank { origin: String, shape: Vec<u64> },

    /// A value is NaN, infinite, or too large for 32 bits.
    #[error(
        "{origin} has {value} in row {row}, column {column} (from 0); expected only numbers that are \
         finite as 32-bit floats\nhint: remove or replace it"
    )]
    NotFinite {
        origin: String,
        row: usize,
        column: usize,
        value: f32,
    },

    /// A pixel is no fraction of full brightness.
    #[error(
        "{origin} has {value} in row {row}, column {column} (from 0); expected pixels in {range}\n\
         hint: divide pixels of 0..255 by 255, and rescale or clip any others"
    )]
    OutOfRange {
        origin: String,
        row: usize,
        column: usize,
        value: f32,
        range: Range,
    },

    /// Bytes that can only be meant as 0 and 1 would be read as nearly black.
    #[error(
        "{origin} holds only the bytes 0 and 1; expected bytes up to 255 (full brightness)\n\
         hint: save x.astype('<f4') for binary images"
    )]
    BinaryBytes { origin: String },

    /// An array to be written is not of its stated shape.
    #[error("cannot write {origin}: {found} values do not make an array of shape {shape:?}")]
    ArrayShape {
        origin: String,
        shape: Vec<usize>,
        found: usize,
    },

    /// Training and test images cannot go through one model.
    #[error(
        "{name}: training images are {train} and test images {test} \
         (height×width×channels)\nhint: give two files of the same shape"
    )]
    ShapeMismatch {
        name: String,
        train: ImageShape,
        test: ImageShape,
    },

    /// Images and labels do not belong together.
    #[error("{origin}: {images} images but {labels} labels\nhint: give two files of the same set")]
    CountMismatch {
        origin: String,
        images: usize,
        labels: usize,
    },

    /// A label names no class.
    #[error(
        "{origin}: label {label} at index {index} (from 0), expected labels below {classes} \
         (the number of classes)\nhint: correct the label or the number of classes"
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
        "a uniform draw of {size} labels needs {size} examples, found {available}\n\
         hint: ask for fewer labels"
    )]
    TooFew { size: usize, available: usize },

    /// A class has too few examples for its share.
    #[error(
        "a balanced draw of {size} labels needs {needed} examples of class {class}, \
         found {available}\nhint: ask for fewer labels or for uniform draws"
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
         expected at most {limit} indices in all\nhint: ask for fewer draws"
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

    /// A name that is not in the catalogue.
    #[error(
        "no data set is named {asked:?}: this program knows {known}\nhint: `diabolo data list` shows them"
    )]
    UnknownName { asked: String, known: String },

    /// A value of a recipe's `[data]` that makes no sense.
    #[error("`data.{key} = {value}`: expected {expected}")]
    Setting {
        key: &'static str,
        value: String,
        expected: String,
    },

    /// The files of a data set are nowhere.
    #[error(
        "{title} is not on this machine: looked in {}\nhint: {advice}",
        quoted(looked)
    )]
    Absent {
        title: String,
        looked: Vec<PathBuf>,
        advice: String,
    },

    /// A file is not the one that was published.
    #[error(
        "{origin} has the SHA-256 {found}, expected {expected}: it is damaged, or another file\n\
         hint: fetch it again, or load files of your own with the data set \"npy\""
    )]
    Checksum {
        origin: String,
        found: String,
        expected: String,
    },

    /// A CIFAR file that is no list of records.
    #[error(
        "{origin} is {found} bytes long, expected {expected} \
         (a record is a label and 32 × 32 × 3 values)\nhint: fetch it again"
    )]
    CifarLength {
        origin: String,
        found: u64,
        expected: String,
    },

    /// Batches of CIFAR that are not there.
    #[error(
        "{origin} lacks {missing}: expected the six files of CIFAR-10's binary version, \
         data_batch_1.bin to data_batch_5.bin and test_batch.bin\n\
         hint: unpack cifar-10-binary.tar.gz, or give the archive itself"
    )]
    CifarMissing { origin: String, missing: String },

    /// An archive that cannot be read, or should not be trusted.
    #[error("{origin}: {problem}\nhint: fetch the archive again")]
    Archive { origin: String, problem: String },

    /// A picture that cannot be used.
    #[error("{}: {problem}", path.display())]
    Picture { path: PathBuf, problem: String },

    /// A folder that holds no usable set of pictures.
    #[error("{}: {problem}", path.display())]
    Folder { path: PathBuf, problem: String },

    /// Pictures of one data set that differ in size.
    #[error(
        "{} is {} × {} pixels (height × width) but {} is {} × {}\n\
         hint: set `height` and `width` to bring every picture to one size",
        first.display(), first_size[0], first_size[1],
        other.display(), other_size[0], other_size[1]
    )]
    MixedSizes {
        first: PathBuf,
        first_size: [u32; 2],
        other: PathBuf,
        other_size: [u32; 2],
    },

    /// Images that do not fit what is to take them.
    #[error(
        "{origin}: images of {found} = {} values, expected {expected} = {} \
         (height×width×channels)\nhint: give images of that shape",
        found.features(),
        expected.features()
    )]
    UnexpectedShape {
        origin: String,
        found: ImageShape,
        expected: ImageShape,
    },

    /// More pixels than memory.
    #[error(
        "{origin}: {count} images of {shape} (height×width×channels) do not fit in memory\n\
         hint: set a smaller `height` and `width`, or `train_images` and `test_images`"
    )]
    Memory {
        origin: String,
        count: usize,
        shape: ImageShape,
    },

    /// One image cannot be both trained and tested on.
    #[error(
        "{origin} holds {found} image(s), expected at least 2: one to train and one to test on\n\
         hint: add images"
    )]
    TooFewToSplit { origin: String, found: usize },

    /// A label of a `.npy` file is not the number of a class.
    #[error(
        "{origin}: label {value} at index {index} (from 0), expected a whole number from 0 to 255\nhint: \
         number the classes from 0"
    )]
    LabelValue {
        origin: String,
        index: usize,
        value: i128,
    },

    /// The array holds no labels.
    #[error(
        "{origin} holds elements of dtype {descr} and shape {shape:?}; expected labels: \
         integers of shape [n]\nhint: save y.astype('u1').ravel() instead"
    )]
    NpyLabels {
        origin: String,
        descr: String,
        shape: Vec<u64>,
    },

    /// The platform names no folder for caches.
    #[error(
        "no folder for data sets: the platform names none for this user\n\
         hint: set the environment variable DIABOLO_DATA, or give --cache DIR"
    )]
    NoCache,

    /// A download could not be stored.
    #[error(
        "cannot store {}: {step} failed: {source}; {needed} bytes are needed there\n\
         hint: free space, or choose another folder with --cache DIR or DIABOLO_DATA",
        path.display()
    )]
    Store {
        path: PathBuf,
        step: &'static str,
        needed: u64,
        source: io::Error,
    },

    /// Somebody else is at it.
    #[error(
        "{} is being written by another program\nhint: wait for it, or end it and try again",
        path.display()
    )]
    Busy { path: PathBuf },

    /// No mirror gave the file.
    #[error(
        "cannot fetch {name}: {failures}\nhint: try again later, or give a mirror with --mirror URL"
    )]
    Download { name: String, failures: String },
}

/// Paths in a row.
fn quoted(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}
