//! Images that stay in their file.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::DataError;

/// Images of bytes in a file, read when they are asked for: there may be more than memory holds.
///
/// They are read by position, not mapped into memory: a file that is cut short meanwhile is an error
/// instead of the end of the process, and what was read does not count as this process's memory.
#[derive(Clone, Debug)]
pub struct OnDisk {
    file: Arc<Opened>,
    /// Where in the file each image begins.
    begins: Arc<Vec<u64>>,
    /// Bytes of an image.
    features: usize,
}

#[derive(Debug)]
struct Opened {
    origin: String,
    file: File,
}

impl PartialEq for OnDisk {
    /// Whether they are the same images of a file of the same name.
    fn eq(&self, other: &OnDisk) -> bool {
        self.file.origin == other.file.origin
            && self.begins == other.begins
            && self.features == other.features
    }
}

impl OnDisk {
    /// `count` images one after the other, from byte `begin` of a file on.
    pub(super) fn new(
        origin: String,
        file: File,
        begin: u64,
        [count, features]: [usize; 2],
    ) -> OnDisk {
        let begins = (0..count as u64).map(|index| begin + index * features as u64);
        OnDisk {
            file: Arc::new(Opened { origin, file }),
            begins: Arc::new(begins.collect()),
            features,
        }
    }

    /// Copies images, one after the other, into `bytes`.
    ///
    /// They are read in the file's order, neighbours at once: from a cold disk an epoch's shuffle comes
    /// nine times as fast that way.
    pub(super) fn copy(
        &self,
        indices: impl Iterator<Item = usize>,
        bytes: &mut [u8],
    ) -> Result<(), DataError> {
        let Opened { origin, file } = &*self.file;
        let features = self.features;
        let begins = indices.map(|index| self.begins[index]);
        let mut places: Vec<(u64, usize)> = begins.zip(0..).collect();
        places.sort_unstable();
        let neighbours =
            |a: &(u64, usize), b: &(u64, usize)| (b.0, b.1) == (a.0 + features as u64, a.1 + 1);
        for run in places.chunk_by(neighbours) {
            let (begin, place) = run[0];
            let bytes = &mut bytes[place * features..][..run.len() * features];
            read_at(file, bytes, begin).map_err(|source| {
                let origin = origin.clone();
                match source.kind() {
                    io::ErrorKind::UnexpectedEof => DataError::CutShort {
                        origin,
                        expected: begin + bytes.len() as u64,
                    },
                    _ => DataError::Read { origin, source },
                }
            })?;
        }
        Ok(())
    }

    /// Keeps the first `count` images.
    pub(super) fn truncate(&mut self, count: usize) {
        Arc::make_mut(&mut self.begins).truncate(count);
    }

    /// The images of these indices, in this order.
    pub(super) fn pick(&self, order: &[usize]) -> OnDisk {
        let begins = order.iter().map(|&index| self.begins[index]);
        OnDisk {
            begins: Arc::new(begins.collect()),
            ..self.clone()
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], begin: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, begin)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut begin: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, begin)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                bytes = &mut bytes[read..];
                begin += read as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::data::{DataError, Pixels, Range, arrays, idx};
    use crate::files::write_atomically;

    /// An IDX file of five images of two bytes: 0 1, 2 3, …
    fn five(path: &std::path::Path) {
        write_atomically(path, |writer| {
            writer.write_all(&[0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2])?;
            writer.write_all(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        })
        .unwrap();
    }

    #[test]
    fn images_of_a_plain_file_stay_there_and_can_be_picked_cut_and_scaled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images");
        five(&path);
        let images = arrays::read_images(&path, Range::Clean).unwrap();
        assert!(matches!(images.pixels, Pixels::OnDisk(_)));
        let bytes = |images: &crate::data::Images| {
            let mut bytes = vec![0; images.count * 2];
            images.copy_bytes(0..images.count, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(bytes(&images), (0..10).collect::<Vec<u8>>());
        let mut picked = images.pick(&[4, 0, 1, 3]);
        assert_eq!(bytes(&picked), [8, 9, 0, 1, 2, 3, 6, 7]);
        picked.truncate(1);
        assert_eq!(picked.to_f32().unwrap(), [8.0 / 255.0, 9.0 / 255.0]);
        assert_eq!(images, idx::read_images(&path).unwrap());
        assert_ne!(images, picked);
    }

    #[test]
    fn a_file_cut_short_after_it_was_opened_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images");
        five(&path);
        let images = idx::read_images(&path).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(20).unwrap();
        let mut row = [0.0; 2];
        images.row_f32(1, &mut row).unwrap();
        let error = images.row_f32(2, &mut row).unwrap_err();
        assert!(matches!(error, DataError::CutShort { expected: 22, .. }));
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }

    #[test]
    fn a_plain_file_of_another_length_than_its_header_says_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images");
        five(&path);
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(25).unwrap();
        let error = idx::read_images(&path).unwrap_err();
        assert!(matches!(
            error,
            DataError::Short {
                expected: 10,
                found: 9,
                ..
            }
        ));
        file.set_len(27).unwrap();
        let error = idx::read_images(&path).unwrap_err();
        assert!(matches!(error, DataError::Trailing { expected: 10, .. }));
    }
}
