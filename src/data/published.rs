//! A file of a data set that its makers publish.

use serde::Serialize;

/// A file as its makers publish it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PublishedFile {
    /// Its name.
    pub name: &'static str,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: &'static str,
    /// Length and SHA-256 of what it unpacks to, where copies compressed anew are in use.
    pub content: Option<(u64, &'static str)>,
    /// Where it is published, in the order to try.
    pub urls: &'static [&'static str],
}
