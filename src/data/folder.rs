//! Folders of pictures: the user's own data set, and images to put through a model.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::{DirEntry, WalkDir};

use super::{Colour, DataError, Dataset, Images, Pixels, Range, Selection, arrays, picture, split};
use crate::image::ImageShape;
use crate::machine::memory_limit;

/// Most classes: a label is a byte.
const MAX_CLASSES: usize = 256;

/// A picture and the sub-folder it lies in.
type File = (PathBuf, Option<String>);

/// The data set `images`: every PNG and JPEG file in `selection.path` and below.
///
/// Each first-level sub-folder that has pictures is a class, in the order of their names; without
/// sub-folders there are no classes. What is tested on is `selection.test_path` if given, else the
/// sub-folder `test` if there is one beside a sub-folder `train`, else a part drawn by `seed`. Both
/// parts come shuffled by `seed`, so that their first images are as good a sample as any.
///
/// # Errors
///
/// [`DataError`] that names the file or folder if there are no pictures, one of them cannot be used,
/// they differ in size and no size is given, or the classes make no sense.
pub(super) fn load(selection: &Selection, seed: u64) -> Result<Dataset, DataError> {
    let root = selection.path.as_deref().unwrap_or(Path::new(""));
    let (train, test) = (root.join("train"), root.join("test"));
    let (mut train, mut test) = match &selection.test_path {
        Some(test) => (list(root)?, list(test)?),
        None if train.is_dir() && test.is_dir() => {
            if let Some(part) = selection.test_part {
                return Err(DataError::Setting {
                    key: "test_part",
                    value: part.to_string(),
                    expected: format!(
                        "no such key: {} has the folders train and test",
                        root.display()
                    ),
                });
            }
            (list(&train)?, list(&test)?)
        }
        None => {
            let mut train = in_order(list(root)?, seed);
            let origin = root.display().to_string();
            let tested = split::test_count(&origin, train.len(), selection.test_part())?;
            let rest = train.split_off(tested);
            (rest, train)
        }
    };
    let classes = classes(&train, &test, root)?;
    let limit = |limit: Option<usize>| limit.unwrap_or(usize::MAX);
    train = in_order(train, seed);
    test = in_order(test, seed);
    train.truncate(limit(selection.train_images));
    test.truncate(limit(selection.test_images));

    let labels = |files: &[File]| -> Vec<u8> {
        let class = |(_, class): &File| classes.binary_search(class.as_ref()?).ok();
        files.iter().filter_map(class).map(|c| c as u8).collect()
    };
    let size = selection.height.zip(selection.width);
    let size = size.map(|(height, width)| [height, width]);
    let form = Form::new(&train, selection.colour(), size)?;
    let name = root.file_name().unwrap_or(root.as_os_str());
    Ok(Dataset {
        name: name.to_string_lossy().into_owned(),
        train: form.read(root, &train)?,
        train_labels: labels(&train),
        test: form.read(root, &test)?,
        test_labels: labels(&test),
        classes: classes.len(),
        class_names: classes,
    })
}

/// Reads images for a model that takes those of a shape, or as they are.
///
/// `path` is a picture (PNG or JPEG), a folder of pictures (all in it and below, by path), or a file
/// of images, `.npy` or IDX. Pictures are converted and resized to what is expected, without it
/// only to RGB; arrays must fit, and their pixels lie in `range`. Also returns the file that each image came from, or the one file
/// that all came from.
///
/// # Errors
///
/// [`DataError`] that names the file if there is nothing to read or it cannot be used.
pub fn read_images(
    path: &Path,
    expected: Option<ImageShape>,
    range: Range,
) -> Result<(Images, Vec<PathBuf>), DataError> {
    let pictures = match path.is_dir() {
        true => list(path)?,
        false if picture::is_picture(path) => vec![(path.to_owned(), None)],
        false => {
            let images = fitted(path, arrays::read_images(path, range)?, expected)?;
            return Ok((images, vec![path.to_owned()]));
        }
    };
    let colour = match expected.map_or(3, |shape| shape.channels) {
        1 => Colour::Grey,
        3 => Colour::Rgb,
        channels => {
            return Err(DataError::Folder {
                path: path.to_owned(),
                problem: format!(
                    "pictures have 1 or 3 values a pixel, expected {channels}; give a .npy file"
                ),
            });
        }
    };
    let size = expected.map(|shape| shape.size());
    let images = Form::new(&pictures, colour, size)?.read(path, &pictures)?;
    Ok((images, pictures.into_iter().map(|(path, _)| path).collect()))
}

/// The images if they are of the shape expected, or rows of as many values.
fn fitted(
    path: &Path,
    mut images: Images,
    expected: Option<ImageShape>,
) -> Result<Images, DataError> {
    let found = images.shape();
    let Some(expected) = expected.filter(|expected| *expected != found) else {
        return Ok(images);
    };
    // `[images, features]` has no picture shape of its own, nor has a model trained on that.
    let flat = |shape: ImageShape| shape.height == 1 && shape.channels == 1;
    if found.features() != expected.features() || !(flat(found) || flat(expected)) {
        return Err(DataError::UnexpectedShape {
            origin: path.display().to_string(),
            found,
            expected,
        });
    }
    (images.height, images.width) = (expected.height, expected.width);
    images.channels = expected.channels;
    Ok(images)
}

/// The pictures in a folder and below, by path, each with its first-level sub-folder.
///
/// Other files, and whatever has a name that begins with a dot, are passed over. Links are followed.
fn list(root: &Path) -> Result<Vec<File>, DataError> {
    let wrong = |path: &Path, problem: String| DataError::Folder {
        path: path.to_owned(),
        problem,
    };
    if !root.is_dir() {
        let problem = "is not a folder: expected a folder of PNG and JPEG files";
        return Err(wrong(root, problem.to_owned()));
    }
    let shown = |entry: &DirEntry| {
        entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".")
    };
    let walk = WalkDir::new(root).follow_links(true).sort_by_file_name();
    let mut files = Vec::new();
    for entry in walk.into_iter().filter_entry(shown) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            wrong(
                &path,
                format!("cannot be walked: {error}; correct or remove it"),
            )
        })?;
        if !entry.file_type().is_file() || !picture::is_named(entry.path()) {
            continue;
        }
        let path = entry.into_path();
        let below = path.strip_prefix(root).unwrap_or(&path);
        let mut parts = below.components();
        let first = parts.next().map(|part| part.as_os_str().to_string_lossy());
        let class = parts.next().and(first).map(|first| first.into_owned());
        files.push((path, class));
    }
    match files.is_empty() {
        true => Err(wrong(
            root,
            "holds no pictures: expected PNG or JPEG files (.png, .jpg, .jpeg) in it or below"
                .to_owned(),
        )),
        false => Ok(files),
    }
}

/// The files in the order of the seed's shuffle.
fn in_order(mut files: Vec<File>, seed: u64) -> Vec<File> {
    let order = split::shuffled(files.len(), seed);
    let mut take = |index: usize| std::mem::take(&mut files[index]);
    order.into_iter().map(&mut take).collect()
}

/// The classes in order; none if no picture lies in a sub-folder.
fn classes(train: &[File], test: &[File], root: &Path) -> Result<Vec<String>, DataError> {
    let wrong = |path: &Path, problem: String| {
        let path = path.to_owned();
        Err(DataError::Folder { path, problem })
    };
    let all = || train.iter().chain(test);
    let mut names: Vec<String> = all().filter_map(|(_, class)| class.clone()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(names);
    }
    if let Some((path, _)) = all().find(|(_, class)| class.is_none()) {
        let problem = format!(
            "lies in no class's folder, but other pictures do (`{}`); move it into one, or all \
             pictures out of theirs",
            names[0]
        );
        return wrong(path, problem);
    }
    if names.len() > MAX_CLASSES {
        let found = names.len();
        let problem = format!(
            "has pictures in {found} folders, expected at most {MAX_CLASSES}: each is a class; \
             put all pictures in one folder if they are no classes"
        );
        return wrong(root, problem);
    }
    Ok(names)
}

/// What every picture of a set is brought to.
struct Form {
    colour: Colour,
    /// Height and width that were asked for.
    size: Option<[usize; 2]>,
    /// Else those of the first picture, which all others must have.
    first: (PathBuf, [usize; 2]),
}

impl Form {
    fn new(files: &[File], colour: Colour, size: Option<[usize; 2]>) -> Result<Form, DataError> {
        let path = files.first().map(|(path, _)| path.clone());
        let path = path.unwrap_or_default();
        let found = match size {
            Some(size) => size,
            None => {
                let picture = picture::read(&path, colour, None)?;
                [picture.height, picture.width]
            }
        };
        Ok(Form {
            colour,
            size,
            first: (path, found),
        })
    }

    /// Reads pictures on all cores. Of several errors, that of the first file is reported.
    fn read(&self, origin: &Path, files: &[File]) -> Result<Images, DataError> {
        let [height, width] = self.first.1;
        let channels = self.colour.channels();
        let shape = ImageShape {
            height,
            width,
            channels,
        };
        let features = shape.features();
        let mut pixels: Vec<u8> = Vec::new();
        // A system that promises more memory than it has would let the allocation pass.
        let fits = |total: &usize| *total as u64 <= memory_limit();
        let total = files.len().checked_mul(features).filter(fits);
        let reserved = total.and_then(|total| pixels.try_reserve_exact(total).ok().map(|()| total));
        let Some(total) = reserved else {
            return Err(DataError::Memory {
                origin: origin.display().to_string(),
                count: files.len(),
                shape,
            });
        };
        pixels.resize(total, 0);
        let failed = pixels
            .par_chunks_exact_mut(features)
            .zip(files)
            .find_map_first(|(pixels, (path, _))| self.read_one(path, pixels).err());
        match failed {
            Some(error) => Err(error),
            None => Ok(Images {
                count: files.len(),
                height,
                width,
                channels,
                pixels: Pixels::Bytes(pixels.into()),
            }),
        }
    }

    fn read_one(&self, path: &Path, pixels: &mut [u8]) -> Result<(), DataError> {
        let picture = picture::read(path, self.colour, self.size)?;
        let (size, (first, first_size)) = ([picture.height, picture.width], &self.first);
        if size != *first_size {
            return Err(DataError::MixedSizes {
                first: first.clone(),
                first_size: first_size.map(|side| side as u32),
                other: path.to_owned(),
                other_size: size.map(|side| side as u32),
            });
        }
        pixels.copy_from_slice(&picture.pixels);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_pixels_than_memory_are_an_error_before_any_file_is_read() {
        let files: Vec<File> = vec![(PathBuf::from("absent.png"), None); 1 << 20];
        let form = Form::new(&files, Colour::Grey, Some([4096, 4096])).unwrap();
        let error = form
            .read(Path::new("folder"), &files)
            .unwrap_err()
            .to_string();
        for part in ["folder: 1048576 images of 4096×4096×1", "train_images"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
