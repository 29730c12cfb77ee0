//! CIFAR-10: 50,000 training and 10,000 test photographs, 32 by 32 pixels of three bytes.
//!
//! Alex Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009. In the binary
//! version a record is a byte, the label, and 3072 more: the red values row by row, then the green,
//! then the blue. Here the channel runs fastest, so each record is transposed.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::source::Source;
use super::{DataError, Dataset, Images, Pixels, PublishedFile, cache};

const SIDE: usize = 32;
const CHANNELS: usize = 3;
const PLANE: usize = SIDE * SIDE;
const RECORD: usize = 1 + CHANNELS * PLANE;
const CLASSES: u8 = 10;
/// Records in each published batch.
const RECORDS: usize = 10_000;
/// Largest batch that is read, in bytes; an archive may claim any size.
const MAX_BATCH: u64 = 1 << 30;

/// The folder inside the archive.
const FOLDER: &str = "cifar-10-batches-bin";
const ARCHIVE: &str = "cifar-10-binary.tar.gz";
/// The last is the test set.
const BATCHES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

pub(super) const FILES: [PublishedFile; 1] = [PublishedFile {
    name: ARCHIVE,
    bytes: 170_052_171,
    sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    content: None,
    urls: &["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"],
}];

/// Where a copy is in the cache: the archive, or the folder of batches.
///
/// # Errors
///
/// [`DataError::Absent`] if there is none, and what [`cache::of`] finds.
pub fn find(cache: Option<&Path>) -> Result<PathBuf, DataError> {
    let folder = cache::of("cifar10", cache)?;
    let found = [folder.join(ARCHIVE), folder.join(FOLDER)];
    found
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| DataError::Absent {
            title: "CIFAR-10".to_owned(),
            looked: vec![folder],
            advice: "run `diabolo data fetch cifar10`, or set `data.path` to a copy of \
                     cifar-10-binary.tar.gz or to the folder it unpacks to"
                .to_owned(),
        })
}

/// Reads the archive or folder `path`, else the copy in the cache.
///
/// The archive is read in memory: nothing of it is ever written. Batches of `path` may have any
/// number of records, those of the cache must have all 10,000.
///
/// # Errors
///
/// [`DataError`] if a batch is missing, of another length, or has a label above 9, and if the
/// archive is damaged or has something other than a file by the name of a batch.
pub fn load(path: Option<&Path>, cache: Option<&Path>) -> Result<Dataset, DataError> {
    let (path, records) = match path {
        Some(path) => (path.to_owned(), None),
        None => (find(cache)?, Some(RECORDS)),
    };
    let batches = match path.is_dir() {
        true => from_folder(&path)?,
        false => from_archive(&path)?,
    };
    let (mut train, mut test) = (Part::default(), Part::default());
    for (index, (origin, bytes)) in batches.into_iter().enumerate() {
        let part = match index {
            5 => &mut test,
            _ => &mut train,
        };
        part.append(&origin, &bytes, records)?;
    }
    Dataset {
        name: "CIFAR-10".to_owned(),
        train: train.images(),
        train_labels: train.labels,
        test: test.images(),
        test_labels: test.labels,
        classes: usize::from(CLASSES),
        class_names: vec![],
    }
    .checked()
}

/// A batch: its name for messages, and its bytes.
type Batch = (String, Vec<u8>);

/// The six batches of a folder, of the folder of batches in it, or of the archive in it.
fn from_folder(folder: &Path) -> Result<Vec<Batch>, DataError> {
    let inner = folder.join(FOLDER);
    let folder = if inner.is_dir() { &inner } else { folder };
    let paths = BATCHES.map(|name| folder.join(name));
    if paths.iter().all(|path| !path.exists()) && folder.join(ARCHIVE).is_file() {
        return from_archive(&folder.join(ARCHIVE));
    }
    missing(folder, |name| folder.join(name).is_file())?;
    let read = |path: &PathBuf| {
        let origin = path.display().to_string();
        let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
        check_length(&origin, length)?;
        match fs::read(path) {
            Ok(bytes) => Ok((origin, bytes)),
            Err(source) => Err(DataError::Read { origin, source }),
        }
    };
    paths.iter().map(read).collect()
}

/// The six batches of a tar archive, plain or gzip.
///
/// An entry counts by its whole path, so one that would leave the folder on extraction
/// (`../data_batch_1.bin`, `/data_batch_1.bin`) is no batch.
fn from_archive(path: &Path) -> Result<Vec<Batch>, DataError> {
    let origin = path.display().to_string();
    let damaged = |problem: String| DataError::Archive {
        origin: origin.clone(),
        problem,
    };
    let unreadable = |error: std::io::Error| {
        damaged(format!(
            "cannot be read as a tar archive, plain or gzip: {error}"
        ))
    };
    let mut archive = tar::Archive::new(Source::open(path)?.into_reader());
    let mut found: HashMap<&str, Vec<u8>> = HashMap::new();
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let Some(name) = batch_name(&entry.path().map_err(unreadable)?) else {
            continue;
        };
        let kind = entry.header().entry_type();
        if !kind.is_file() {
            return Err(damaged(format!(
                "{name} is no plain file in it but {kind:?}"
            )));
        }
        let size = entry.size();
        check_length(&format!("{origin}: {name}"), size)?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 != size {
            let read = bytes.len();
            return Err(damaged(format!("{name} ends after {read} of {size} bytes")));
        }
        if found.insert(name, bytes).is_some() {
            return Err(damaged(format!("{name} is in it twice")));
        }
    }
    // A gzip stream has its checksum at the end, which is beyond the archive's own end.
    let mut rest = archive.into_inner().take(MAX_BATCH);
    std::io::copy(&mut rest, &mut std::io::sink()).map_err(unreadable)?;
    missing(path, |name| found.contains_key(name))?;
    let take = |name: &str| Some((format!("{origin}: {name}"), found.remove(name)?));
    Ok(BATCHES.into_iter().filter_map(take).collect())
}

/// The batch that a path in the archive means, if any.
fn batch_name(path: &Path) -> Option<&'static str> {
    let parts: Option<Vec<&str>> = path
        .components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect();
    let name = match parts?[..] {
        [FOLDER, name] | [name] => name,
        _ => return None,
    };
    BATCHES.into_iter().find(|batch| *batch == name)
}

fn missing(origin: &Path, has: impl Fn(&str) -> bool) -> Result<(), DataError> {
    let missing: Vec<&str> = BATCHES.into_iter().filter(|name| !has(name)).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(DataError::CifarMissing {
            origin: origin.display().to_string(),
            missing: missing.join(", "),
        }),
    }
}

fn check_length(origin: &str, found: u64) -> Result<(), DataError> {
    let wrong = |expected: String| {
        Err(DataError::CifarLength {
            origin: origin.to_owned(),
            found,
            expected,
        })
    };
    match found {
        0 => wrong(format!("at least one record of {RECORD}")),
        _ if found > MAX_BATCH => wrong(format!("at most {MAX_BATCH}")),
        _ if !found.is_multiple_of(RECORD as u64) => wrong(format!("a multiple of {RECORD}")),
        _ => Ok(()),
    }
}

/// Images and labels as they come in.
#[derive(Default)]
struct Part {
    labels: Vec<u8>,
    pixels: Vec<u8>,
}

impl Part {
    fn append(
        &mut self,
        origin: &str,
        bytes: &[u8],
        records: Option<usize>,
    ) -> Result<(), DataError> {
        // Once more: a file may have grown since its length was asked.
        check_length(origin, bytes.len() as u64)?;
        if let Some(records) = records
            && bytes.len() != records * RECORD
        {
            return Err(DataError::CifarLength {
                origin: origin.to_owned(),
                found: bytes.len() as u64,
                expected: format!("{} for {records} records", records * RECORD),
            });
        }
        let records = bytes.chunks_exact(RECORD);
        if let Some(index) = records.clone().position(|record| record[0] >= CLASSES) {
            return Err(DataError::LabelRange {
                origin: origin.to_owned(),
                index,
                label: bytes[index * RECORD],
                classes: usize::from(CLASSES),
            });
        }
        self.pixels.reserve(records.len() * (RECORD - 1));
        for record in records {
            self.labels.push(record[0]);
            let (red, rest) = record[1..].split_at(PLANE);
            let (green, blue) = rest.split_at(PLANE);
            for ((&red, &green), &blue) in red.iter().zip(green).zip(blue) {
                self.pixels.extend([red, green, blue]);
            }
        }
        Ok(())
    }

    /// The images; only the labels stay.
    fn images(&mut self) -> Images {
        Images {
            count: self.labels.len(),
            height: SIDE,
            width: SIDE,
            channels: CHANNELS,
            pixels: Pixels::Bytes(std::mem::take(&mut self.pixels).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_path_names_a_batch() {
        let name = |path: &str| batch_name(Path::new(path));
        let first = Some("data_batch_1.bin");
        assert_eq!(name("cifar-10-batches-bin/data_batch_1.bin"), first);
        assert_eq!(name("./cifar-10-batches-bin/data_batch_1.bin"), first);
        assert_eq!(name("data_batch_1.bin"), first);
        for other in [
            "../data_batch_1.bin",
            "/data_batch_1.bin",
            "cifar-10-batches-bin/../data_batch_1.bin",
            "elsewhere/data_batch_1.bin",
            "cifar-10-batches-bin/batches.meta.txt",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn the_planes_of_a_record_become_channels_of_a_pixel() {
        let mut record = vec![7];
        for first in [0_u8, 100, 200] {
            record.extend((0..PLANE).map(|at| first + (at % 50) as u8));
        }
        let mut part = Part::default();
        part.append("here", &[&record[..], &record].concat(), None)
            .unwrap();
        let images = part.images();
        assert_eq!(
            (images.count, images.shape().to_string().as_str()),
            (2, "32×32×3")
        );
        assert_eq!(part.labels, [7, 7]);
        let Pixels::Bytes(pixels) = images.pixels else {
            panic!("bytes")
        };
        assert_eq!(pixels[..6], [0, 100, 200, 1, 101, 201]);
        let last = PLANE * 3 * 2 - 3;
        let at = ((PLANE - 1) % 50) as u8;
        assert_eq!(pixels[last..], [at, 100 + at, 200 + at]);
    }
}
