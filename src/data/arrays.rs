//! The user's own arrays, `.npy` or IDX, as a data set.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{DataError, Dataset, Images, Range, Selection, check_labels, idx, npy, split};

/// Reads images from a `.npy` or IDX file (plain or gzip), whichever it is.
///
/// # Errors
///
/// As [`npy::read_images`] and [`idx::read_images`].
pub fn read_images(path: &Path, range: Range) -> Result<Images, DataError> {
    match is_npy(path) {
        true => npy::read_images(path, range),
        false => idx::read_images(path),
    }
}

/// Reads labels from a `.npy` file of integers or an IDX file (plain or gzip), whichever it is.
///
/// # Errors
///
/// As [`npy::read_labels`] and [`idx::read_labels`].
pub fn read_labels(path: &Path) -> Result<Vec<u8>, DataError> {
    match is_npy(path) {
        true => npy::read_labels(path),
        false => idx::read_labels(path),
    }
}

/// Told by the first bytes, not by the name. Whoever reads a missing file says so better.
fn is_npy(path: &Path) -> bool {
    let mut start = [0; 6];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok_and(|()| start == *b"\x93NUMPY")
}

/// The data set `npy`: `path` and `labels` to train on, `test_path` and `test_labels` to test on,
/// or a part of the former, drawn by `seed`. There are as many classes as the largest label says.
///
/// # Errors
///
/// [`DataError`] if a file cannot be read, or images and labels do not fit each other.
pub(super) fn load(selection: &Selection, seed: u64) -> Result<Dataset, DataError> {
    let path = selection.path.as_deref().unwrap_or(Path::new(""));
    let read = |images: &Path, labels: Option<&Path>| -> Result<(Images, Vec<u8>), DataError> {
        let images = read_images(images, Range::Clean)?;
        let Some(path) = labels else {
            return Ok((images, vec![]));
        };
        let labels = read_labels(path)?;
        check_labels(&path.display().to_string(), images.count, &labels, 256)?;
        Ok((images, labels))
    };
    let (train, train_labels) = read(path, selection.labels.as_deref())?;
    let largest = |labels: &[u8]| {
        labels
            .iter()
            .max()
            .map_or(0, |&label| usize::from(label) + 1)
    };
    let name = path.file_stem().unwrap_or(path.as_os_str());
    let mut data = Dataset {
        name: name.to_string_lossy().into_owned(),
        classes: largest(&train_labels),
        class_names: vec![],
        test: train.pick(&[]),
        train,
        train_labels,
        test_labels: vec![],
    };
    match &selection.test_path {
        Some(path) => {
            (data.test, data.test_labels) = read(path, selection.test_labels.as_deref())?;
            data.classes = data.classes.max(largest(&data.test_labels));
        }
        None => {
            let origin = path.display().to_string();
            let count = data.train.count;
            let order = split::shuffled(count, seed);
            let tested = split::test_count(&origin, count, selection.test_part())?;
            let (test, train) = order.split_at(tested);
            let pick = |order: &[usize]| {
                let labels = &data.train_labels;
                let labels = order.iter().filter_map(|&index| labels.get(index).copied());
                (data.train.pick(order), labels.collect())
            };
            let ((test, test_labels), (train, train_labels)) = (pick(test), pick(train));
            (data.test, data.test_labels) = (test, test_labels);
            (data.train, data.train_labels) = (train, train_labels);
        }
    }
    Ok(data)
}
