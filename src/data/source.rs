//! Bytes from a file or from memory, unpacked on the way if they are gzip.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::DataError;

/// The largest array that is read, in bytes: 64 GiB. A small gzip file can unpack to any size, so
/// the length of the file alone does not bound what a header may claim.
const MAX_BYTES: u64 = 1 << 36;

/// A stream of bytes that knows its name for error messages.
pub(super) struct Source<'a> {
    pub(super) origin: String,
    reader: Box<dyn Read + 'a>,
    gzip: bool,
}

impl<'a> Source<'a> {
    pub(super) fn open(path: &Path) -> Result<Source<'static>, DataError> {
        let origin = path.display().to_string();
        match File::open(path) {
            Ok(file) => Source::new(origin, io::BufReader::new(file)),
            Err(source) => Err(DataError::Read { origin, source }),
        }
    }

    pub(super) fn from_bytes(origin: &str, bytes: &'a [u8]) -> Result<Source<'a>, DataError> {
        Source::new(origin.to_owned(), bytes)
    }

    /// Looks at the first two bytes, not at the name: downloads lose their `.gz` often enough.
    fn new(origin: String, reader: impl Read + 'a) -> Result<Source<'a>, DataError> {
        let mut source = Source {
            origin,
            reader: Box::new(reader),
            gzip: false,
        };
        let start = source.read_up_to(2)?;
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
            Ok(_) => Ok(bytes),
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

    /// The rest of the file, which must be exactly an array of `shape`, `width` bytes an element.
    ///
    /// Once it returns, every dimension is known to fit `usize`: the bytes are here.
    pub(super) fn array(mut self, shape: &[u64], width: u64) -> Result<Vec<u8>, DataError> {
        let (origin, shape) = (self.origin.clone(), shape.to_vec());
        if shape.contains(&0) {
            return Err(DataError::Empty { origin, shape });
        }
        let bytes = shape.iter().try_fold(width, |a, &b| a.checked_mul(b));
        let Some(expected) = bytes.filter(|&bytes| bytes <= MAX_BYTES) else {
            return Err(DataError::TooLarge {
                origin,
                shape,
                limit: MAX_BYTES,
            });
        };
        // One byte more than expected, to see the end of the file (and check gzip's checksum).
        let bytes = self.read_up_to(expected + 1)?;
        let found = bytes.len() as u64;
        if found < expected {
            return Err(DataError::Short {
                origin,
                shape,
                expected,
                found,
            });
        }
        if found > expected {
            return Err(DataError::Trailing {
                origin,
                shape,
                expected,
            });
        }
        Ok(bytes)
    }
}
