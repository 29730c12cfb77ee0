//! Messages on standard error. A message that cannot be written (a closed terminal, a full disk) is dropped:
//! it changes neither the work nor the exit code.

use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Loudness {
    /// Errors alone.
    Quiet,
    /// What is done, and how far it is.
    Usual,
    /// Also every detail.
    Verbose,
}

static LOUDNESS: AtomicU8 = AtomicU8::new(Loudness::Usual as u8);

/// Sets how much is said from now on.
pub fn set(loudness: Loudness) {
    LOUDNESS.store(loudness as u8, Ordering::Relaxed);
}

/// Whether messages of this importance are said.
pub fn is_said(loudness: Loudness) -> bool {
    loudness as u8 <= LOUDNESS.load(Ordering::Relaxed)
}

/// Says what is done, unless `--quiet`.
pub fn say(line: impl Display) {
    at(Loudness::Usual, line);
}

/// Says a detail, if `--verbose`.
pub fn detail(line: impl Display) {
    at(Loudness::Verbose, line);
}

/// Says what went wrong, always.
pub fn complain(line: impl Display) {
    at(Loudness::Quiet, line);
}

fn at(loudness: Loudness, line: impl Display) {
    if is_said(loudness) {
        // There is nowhere else to say that the message could not be written.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
