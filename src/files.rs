//! Writing files so that a crash or a full disk never leaves half of one.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::Builder;
use thiserror::Error;

/// A file could not be written; whatever stood at its path before is untouched.
#[derive(Debug, Error)]
#[error(
    "cannot write {}: {step} failed: {source}; an older file of that name is unchanged\n\
     hint: free space or choose another folder",
    path.display()
)]
pub struct FileError {
    /// The file that was to be written.
    pub path: PathBuf,
    /// The step that failed.
    pub step: &'static str,
    /// What the operating system, or the caller's own writing, reported.
    pub source: io::Error,
}

/// The folder that `path` lies in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Names for what is not finished: a killed process cannot clean up, so its leftover should at
/// least say what it is.
pub fn temporary_name() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(".diabolo-").suffix(".partial");
    builder
}

/// Writes the file at `path` whole or not at all.
///
/// `write` fills a temporary file in the same folder, because a rename is atomic only within one
/// file system. The new name appears once every byte is on the disk. The folder must exist. An
/// older file, or a symbolic link, at `path` is replaced.
///
/// # Errors
///
/// [`FileError`] when a step fails or `write` returns an error; the temporary file is removed.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    let failed = |step: &'static str| {
        move |source: io::Error| FileError {
            path: path.to_owned(),
            step,
            source,
        }
    };
    let mut builder = temporary_name();
    // Temporary files are private by default; a result should be as readable as any other file.
    // The process's umask still applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));

    let mut file = builder
        .tempfile_in(folder_of(path))
        .map_err(failed("creating a temporary file in the same folder"))?;
    let mut writer = BufWriter::new(file.as_file_mut());
    write(&mut writer)
        .and_then(|()| writer.flush())
        .map_err(failed("writing its contents"))?;
    drop(writer);
    // Without this the rename may reach the disk before the bytes do.
    file.as_file()
        .sync_all()
        .map_err(failed("forcing its contents to the disk"))?;
    file.persist(path)
        .map_err(|error| failed("renaming the finished temporary file")(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_new_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result");
        for text in ["first, and longer", "second"] {
            write_atomically(&path, |writer| writer.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["result"]);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result");
        fs::write(&path, "old").unwrap();
        let error = write_atomically(&path, |writer| {
            writer.write_all(&[b'x'; 100_000])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["result"]);
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(text.contains("writing its contents"), "{text}");
        assert!(text.contains("another folder"), "{text}");
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent").join("result");
        let error = write_atomically(&path, |_| Ok(())).unwrap_err();
        assert_eq!(error.path, path);
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_folder_in_the_way_is_an_error_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result");
        fs::create_dir(&path).unwrap();
        write_atomically(&path, |writer| writer.write_all(b"x")).unwrap_err();
        assert!(path.is_dir());
        assert_eq!(names(folder.path()), ["result"]);
    }

    #[test]
    fn a_path_without_a_file_name_is_an_error() {
        assert!(write_atomically(Path::new("/"), |_| Ok(())).is_err());
        assert!(write_atomically(Path::new(""), |_| Ok(())).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_result_is_as_readable_as_any_other_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_atomically(&ours, |_| Ok(())).unwrap();
        fs::write(&plain, "").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(ours), mode(plain));
    }
}
