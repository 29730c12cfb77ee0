//! Bytes from a file or from memory, unpacked on the way if they are gzip.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::{DataError, OnDisk, Pixels};
use crate::machine::memory_limit;

/// The largest array that is read into memory, in bytes, if there is as much memory: 64 GiB. A small gzip file can unpack to any size, so
/// the length of the file alone does not bound what a header may claim.
const MAX_BYTES: u64 = 1 << 36;

/// A stream of bytes that knows its name for error messages.
pub(super) struct Source<'a> {
    pub(super) origin: String,
    reader: Box<dyn Read + 'a>,
    gzip: bool,
    /// Bytes read so far, once unpacked.
    position: u64,
    /// The file, if its bytes can be read at any place.
    file: Option<File>,
}

impl<'a> Source<'a> {
    pub(super) fn open(path: &Path) -> Result<Source<'static>, DataError> {
        let origin = path.display().to_string();
        let open = || {
            let file = File::open(path)?;
            // A pipe has no places to read at.
            let again = match file.metadata()?.is_file() {
                true => Some(file.try_clone()?),
                false => None,
            };
            Ok((file, again))
        };
        match open() {
            Ok((file, again)) => Source::new(origin, io::BufReader::new(file), again),
            Err(source) => Err(DataError::Read { origin, source }),
        }
    }

    pub(super) fn from_bytes(origin: &str, bytes: &'a [u8]) -> Result<Source<'a>, DataError> {
        Source::new(origin.to_owned(), bytes, None)
    }

    /// Looks at the first two bytes, not at the name: downloads lose their `.gz` often enough.
    fn new(
        origin: String,
        reader: impl Read + 'a,
        file: Option<File>,
    ) -> Result<Source<'a>, DataError> {
        let mut source = Source {
            origin,
            reader: Box::new(reader),
            gzip: false,
            position: 0,
            file,
        };
        let start = source.read_up_to(2)?;
        source.position = 0;
        source.gzip = start == [0x1f, 0x8b];
        let whole = Cursor::new(start).chain(source.reader);
        source.reader = match source.gzip {
            true => Box::new(MultiGzDecoder::new(whole)),
            false => Box::new(whole),
        };
        Ok(source)
    }

    /// All of it as a stream, for readers that have errors of their own.
    pub(super) fn into_reader(self) -> Box<dyn Read + 'a> {
        self.reader
    }

    /// The next `limit` bytes, or as many as are left.
    ///
    /// Memory grows with the bytes that arrive, so a header that lies about `limit` costs nothing.
    pub(super) fn read_up_to(&mut self, limit: u64) -> Result<Vec<u8>, DataError> {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(limit).read_to_end(&mut bytes);
        let origin = || self.origin.clone();
        match read {
            Ok(read) => {
                self.position += read as u64;
                Ok(bytes)
            }
            Err(source) => Err(match (self.gzip, source.kind()) {
                (true, UnexpectedEof) => DataError::GzipTruncated { origin: origin() },
                (true, InvalidData | InvalidInput) => DataError::GzipDamaged {
                    origin: origin(),
                    source,
                },
                _ => DataError::Read {
                    origin: origin(),
                    source,
                },
            }),
        }
    }

    /// Exactly the next `N` bytes.
    pub(super) fn header<const N: usize>(&mut self) -> Result<[u8; N], DataError> {
        let bytes = self.read_up_to(N as u64)?;
        <[u8; N]>::try_from(bytes).map_err(|bytes| DataError::HeaderShort {
            origin: self.origin.clone(),
            expected: N,
            found: bytes.len(),
        })
    }

    /// The rest of the file, which must be exactly an array of bytes of `shape`, as images: where
    /// they are if that is a plain file, else in memory.
    pub(super) fn images(mut self, shape: &[u64]) -> Result<Pixels, DataError> {
        let (false, Some(file)) = (self.gzip, self.file.take()) else {
            return Ok(Pixels::Bytes(self.array(shape, 1)?.into()));
        };
        let expected = self.size(shape, 1, u64::MAX)?;
        let origin = self.origin.clone();
        let found = match file.metadata() {
            Ok(metadata) => metadata.len().saturating_sub(self.position),
            Err(source) => return Err(DataError::Read { origin, source }),
        };
        self.check_length(shape, expected, found)?;
        let count = shape[0] as usize;
        let features = expected as usize / count;
        let images = OnDisk::new(origin, file, self.position, [count, features]);
        Ok(Pixels::OnDisk(images))
    }

    /// The rest of the file, which must be exactly an array of `shape`, `width` bytes an element.
    ///
    /// Once it returns, every dimension is known to fit `usize`: the bytes are here.
    pub(super) fn array(mut self, shape: &[u64], width: u64) -> Result<Vec<u8>, DataError> {
        let expected = self.size(shape, width, MAX_BYTES.min(memory_limit()))?;
        // One byte more than expected, to see the end of the file (and check gzip's checksum).
        let bytes = self.read_up_to(expected + 1)?;
        self.check_length(shape, expected, bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Bytes of an array, at most `limit`.
    fn size(&self, shape: &[u64], width: u64, limit: u64) -> Result<u64, DataError> {
        let (origin, shape) = (self.origin.clone(), shape.to_vec());
        if shape.contains(&0) {
            return Err(DataError::Empty { origin, shape });
        }
        let bytes = shape.iter().try_fold(width, |a, &b| a.checked_mul(b));
        bytes
            .filter(|&bytes| bytes <= limit)
            .ok_or(DataError::TooLarge {
                origin,
                shape,
                limit,
            })
    }

    /// Errors unless as many bytes were found as were expected.
    fn check_length(&self, shape: &[u64], expected: u64, found: u64) -> Result<(), DataError> {
        let (origin, shape) = (self.origin.clone(), shape.to_vec());
        match found.cmp(&expected) {
            Ordering::Equal => Ok(()),
            Ordering::Less => Err(DataError::Short {
                origin,
                shape,
                expected,
                found,
            }),
            Ordering::Greater => Err(DataError::Trailing {
                origin,
                shape,
                expected,
            }),
        }
    }
}
