//! Where fetched data sets are kept.

use std::path::{Path, PathBuf};

use directories::ProjectDirs;

use super::DataError;

/// Names the folder for data sets, before the platform's convention.
pub const VARIABLE: &str = "DIABOLO_DATA";

/// The folder for data sets: `chosen` if given, else what [`VARIABLE`] says, else the platform's
/// folder for caches (on Linux `~/.cache/diabolo`). It need not exist.
///
/// # Errors
///
/// [`DataError::NoCache`] if the platform names none for this user.
pub fn folder(chosen: Option<&Path>) -> Result<PathBuf, DataError> {
    let set = || std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    let usual = || ProjectDirs::from("", "", "diabolo").map(|dirs| dirs.cache_dir().to_owned());
    chosen
        .map(Path::to_owned)
        .or_else(|| set().map(PathBuf::from))
        .or_else(usual)
        .ok_or(DataError::NoCache)
}

/// Where the files of a data set are, or would be, in that folder.
///
/// # Errors
///
/// As [`folder`].
pub fn of(name: &str, chosen: Option<&Path>) -> Result<PathBuf, DataError> {
    Ok(folder(chosen)?.join(name))
}
