//! Fetching the files of a data set over HTTP(S), from the first mirror that has them.
//!
//! A file arrives under the name `<name>.part` and gets its own name only once its length and
//! SHA-256 are right, so whatever has the name is the file. What has arrived stays when a download
//! breaks off, and the next attempt, from whichever mirror, goes on from there. The checksum comes
//! with the program, so mirrors need not be trusted, and plain HTTP will do.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::http::{HeaderMap, header};

use super::{DataError, PublishedFile};

/// Names mirrors to try first, separated by spaces or commas.
pub const VARIABLE: &str = "DIABOLO_MIRRORS";

/// A file to fetch.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Where to get it, in the order to try.
    pub urls: Vec<String>,
}

impl Wanted {
    /// A file of the catalogue, from `mirrors` (folders that hold it under its own name) first.
    pub fn new(file: &PublishedFile, mirrors: &[String]) -> Wanted {
        let mirrors = mirrors.iter();
        let first = mirrors.map(|base| format!("{}/{}", base.trim_end_matches('/'), file.name));
        Wanted {
            name: file.name.to_owned(),
            bytes: file.bytes,
            sha256: file.sha256.to_owned(),
            urls: first
                .chain(file.urls.iter().map(|url| (*url).to_owned()))
                .collect(),
        }
    }
}

/// The mirrors given, then those of the environment variable [`VARIABLE`].
pub fn mirrors(given: &[String]) -> Vec<String> {
    let set = std::env::var(VARIABLE).unwrap_or_default();
    let set = set.split([' ', ',', '\t', '\n']);
    let set = set.filter(|url| !url.is_empty()).map(str::to_owned);
    given.iter().cloned().chain(set).collect()
}

/// How long to wait, and how often to try again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes.
    pub stall: Duration,
    /// Tries at each mirror; each goes on where the last broke off.
    pub attempts: usize,
    /// Between two tries.
    pub pause: Duration,
    /// Redirects that are followed in one try.
    pub redirects: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(30),
            attempts: 3,
            pause: Duration::from_secs(1),
            redirects: 5,
        }
    }
}

/// What happens during a fetch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// The file is there already, and right; no network was used.
    Present(&'a Path),
    /// A server is asked for the file.
    Asking(&'a str),
    /// So many bytes of the file have arrived, those of earlier fetches included.
    Received {
        /// Bytes so far.
        done: u64,
        /// Bytes of the whole file.
        total: u64,
    },
    /// A try came to nothing.
    Failed {
        /// Where.
        url: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// The file has arrived, and is right.
    Stored(&'a Path),
}

/// Fetches a file into `folder`, which is made if need be, unless the file is there and right.
///
/// # Errors
///
/// - [`DataError::Download`] if no mirror gives the file, with the reason of each;
/// - [`DataError::Store`] if the disk is full or the folder cannot be written: there is nothing
///   under the file's name then, and what has arrived is kept for another try;
/// - [`DataError::Busy`] if another process is fetching the same file into the same folder.
pub fn fetch(
    wanted: &Wanted,
    folder: &Path,
    patience: &Patience,
    observe: &mut dyn FnMut(Event),
) -> Result<PathBuf, DataError> {
    let path = folder.join(&wanted.name);
    if is_right(&path, wanted) {
        observe(Event::Present(&path));
        return Ok(path);
    }
    fs::create_dir_all(folder).map_err(|source| DataError::Store {
        path: path.clone(),
        step: "making its folder",
        needed: wanted.bytes,
        source,
    })?;
    let mut part = Part::open(folder, wanted)?;
    // Another process may have finished between the first look and the lock.
    if is_right(&path, wanted) {
        observe(Event::Present(&path));
        return Ok(path);
    }
    let mut job = Job {
        wanted,
        patience,
        agent: agent(patience),
        observe,
    };
    let fetched = job.try_all(&mut part).and_then(|()| part.finish(&path));
    match fetched {
        Ok(()) => observe(Event::Stored(&path)),
        Err(error) => {
            part.remove_if_empty();
            return Err(error);
        }
    }
    Ok(path)
}

fn agent(patience: &Patience) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(patience.redirects)
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.stall))
        .timeout_per_read(Some(patience.stall))
        .timeout_per_write(Some(patience.stall))
        .user_agent(concat!("diabolo/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// Whether the whole file is at that path.
fn is_right(path: &Path, wanted: &Wanted) -> bool {
    let length = fs::metadata(path).map(|metadata| metadata.len());
    let hash = || File::open(path).and_then(|mut file| sha256(&mut file));
    length.is_ok_and(|length| length == wanted.bytes)
        && hash().is_ok_and(|hash| hash == wanted.sha256)
}

fn sha256(reader: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(super::hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// The file that bytes arrive in, locked against other processes.
struct Part {
    path: PathBuf,
    file: File,
    /// Its length, which is where the next byte goes.
    length: u64,
    /// That of the whole file.
    total: u64,
}

impl Part {
    fn open(folder: &Path, wanted: &Wanted) -> Result<Part, DataError> {
        let path = folder.join(format!("{}.part", wanted.name));
        let store = |source| DataError::Store {
            path: path.clone(),
            step: "opening it",
            needed: wanted.bytes,
            source,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(store)?;
        // A file system without locks is no reason to give up.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(DataError::Busy { path });
        }
        let length = file.metadata().map_err(store)?.len();
        Ok(Part {
            path,
            file,
            length,
            total: wanted.bytes,
        })
    }

    fn failed(&self, step: &'static str, source: io::Error) -> DataError {
        DataError::Store {
            path: self.path.clone(),
            step,
            needed: self.total.saturating_sub(self.length),
            source,
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => Err(self.failed("writing", error)),
        }
    }

    /// Sets the next write to `length`, and cuts off what is beyond.
    fn seek_end(&mut self) -> Result<(), DataError> {
        let mut seek = || {
            if self.file.metadata()?.len() != self.length {
                self.file.set_len(self.length)?;
            }
            self.file.seek(SeekFrom::Start(self.length))
        };
        seek()
            .map(|_| ())
            .map_err(|error| self.failed("going on in it", error))
    }

    fn clear(&mut self) -> Result<(), DataError> {
        self.length = 0;
        self.seek_end()
    }

    fn hash(&mut self) -> Result<String, DataError> {
        let start = self.file.seek(SeekFrom::Start(0));
        let hash = start.and_then(|_| sha256(&mut self.file));
        hash.map_err(|error| self.failed("reading it again", error))
    }

    fn finish(&mut self, path: &Path) -> Result<(), DataError> {
        // Without this the rename may reach the disk before the bytes do.
        let synced = self.file.sync_all();
        synced.map_err(|error| self.failed("forcing it to the disk", error))?;
        let renamed = fs::rename(&self.path, path);
        renamed.map_err(|error| self.failed("giving it its name", error))
    }

    /// An empty file would only puzzle. If it cannot be removed, it does no harm.
    fn remove_if_empty(&self) {
        if self.length == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why a try came to nothing.
enum Stop {
    /// Another try may do better.
    Again(String),
    /// This mirror has nothing to offer.
    Mirror(String),
    /// No mirror can help.
    Fatal(DataError),
}

impl From<DataError> for Stop {
    fn from(error: DataError) -> Self {
        Stop::Fatal(error)
    }
}

struct Job<'a> {
    wanted: &'a Wanted,
    patience: &'a Patience,
    agent: Agent,
    observe: &'a mut dyn FnMut(Event),
}

impl Job<'_> {
    /// Fills `part` with the right bytes.
    fn try_all(&mut self, part: &mut Part) -> Result<(), DataError> {
        let mut failures = Vec::new();
        for url in &self.wanted.urls {
            match self.try_mirror(url, part)? {
                None => return Ok(()),
                Some(reason) => failures.push(format!("  {url}: {reason}")),
            }
        }
        Err(DataError::Download {
            name: self.wanted.name.clone(),
            failures: match failures.is_empty() {
                true => "no mirror is known".to_owned(),
                false => format!("no mirror has it\n{}", failures.join("\n")),
            },
        })
    }

    /// Tries a mirror as often as that makes sense. Returns why it failed, if it did.
    fn try_mirror(&mut self, url: &str, part: &mut Part) -> Result<Option<String>, DataError> {
        let mut tries = 1;
        loop {
            let (reason, again) = match self.attempt(url, part) {
                Ok(()) => return Ok(None),
                Err(Stop::Again(reason)) => (reason, tries < self.patience.attempts),
                Err(Stop::Mirror(reason)) => (reason, false),
                Err(Stop::Fatal(error)) => return Err(error),
            };
            (self.observe)(Event::Failed {
                url,
                reason: &reason,
            });
            if !again {
                return Ok(Some(reason));
            }
            std::thread::sleep(self.patience.pause);
            tries += 1;
        }
    }

    fn attempt(&mut self, url: &str, part: &mut Part) -> Result<(), Stop> {
        let total = self.wanted.bytes;
        if part.length > total {
            part.clear()?;
        }
        let resumed = part.length > 0;
        if part.length < total {
            self.receive(url, part)?;
        }
        let found = part.hash()?;
        if found == self.wanted.sha256 {
            return Ok(());
        }
        part.clear()?;
        let expected = &self.wanted.sha256;
        let reason = format!("the file has the SHA-256 {found}, expected {expected}");
        // What was there before may have been the wrong part.
        Err(match resumed {
            true => Stop::Again(reason),
            false => Stop::Mirror(reason),
        })
    }

    /// Asks for what is missing and appends it.
    fn receive(&mut self, url: &str, part: &mut Part) -> Result<(), Stop> {
        (self.observe)(Event::Asking(url));
        let total = self.wanted.bytes;
        let mut request = self.agent.get(url);
        if part.length > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", part.length));
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => return Err(refused(&error)),
        };
        let headers = response.headers();
        match response.status().as_u16() {
            206 if part.length > 0 && range_start(headers) == Some(part.length) => {}
            206 | 416 => {
                part.clear()?;
                return Err(Stop::Again(
                    "the server has no such part of the file; starting over".to_owned(),
                ));
            }
            200 => {
                if let Some(length) = number(headers, header::CONTENT_LENGTH)
                    && length != total
                {
                    return Err(Stop::Mirror(format!(
                        "the server says the file has {length} bytes, expected {total}"
                    )));
                }
                part.clear()?;
            }
            status => return Err(Stop::Mirror(format!("HTTP status {status}"))),
        }
        part.seek_end()?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let (done, read) = (part.length, body.read(&mut buffer));
            match read {
                Ok(0) if done < total => {
                    let reason = format!("the connection ended after {done} of {total} bytes");
                    return Err(Stop::Again(reason));
                }
                Ok(0) => return Ok(()),
                Ok(read) if done + read as u64 > total => {
                    part.clear()?;
                    let reason = format!("the server sends more than the expected {total} bytes");
                    return Err(Stop::Mirror(reason));
                }
                Ok(read) => part.append(&buffer[..read])?,
                Err(error) => {
                    let reason = format!("{error}, after {done} of {total} bytes");
                    return Err(Stop::Again(reason));
                }
            }
            let done = part.length;
            (self.observe)(Event::Received { done, total });
        }
    }
}

/// Why there was no response.
fn refused(error: &ureq::Error) -> Stop {
    use ureq::Error::{Io, Protocol, Timeout};
    match error {
        Io(_) | Protocol(_) | Timeout(_) => Stop::Again(error.to_string()),
        _ => Stop::Mirror(error.to_string()),
    }
}

fn number(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Where the part begins that a `Content-Range: bytes 5-9/10` announces.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (start, _) = range.trim().strip_prefix("bytes")?.split_once('-')?;
    start.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::catalogue;

    #[test]
    fn mirrors_come_before_the_published_places() {
        let entry = catalogue::entry("cifar10").unwrap();
        let given = ["http://here/data/".to_owned()];
        let wanted = Wanted::new(&entry.files[0], &given);
        assert_eq!(wanted.urls[0], "http://here/data/cifar-10-binary.tar.gz");
        assert_eq!(wanted.urls[1..], *entry.files[0].urls);
    }

    #[test]
    fn only_a_range_in_bytes_has_a_start() {
        let start = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, value.parse().unwrap());
            range_start(&headers)
        };
        assert_eq!(start("bytes 5-9/10"), Some(5));
        for other in ["", "bytes */10", "lines 5-9/10", "bytes x-9/10"] {
            assert_eq!(start(other), None, "{other}");
        }
    }
}
