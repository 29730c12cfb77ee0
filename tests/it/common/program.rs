//! The program as tests run it.

use std::path::Path;
use std::process::{Command, Output};

/// The program in a folder, with a cache of its own there.
pub fn diabolo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diabolo"));
    command.current_dir(folder).args(arguments);
    command.env("DIABOLO_DATA", folder.join("cache"));
    // A terminal's width would change where the help wraps.
    command.env_remove("COLUMNS");
    command
}

pub fn output(folder: &Path, arguments: &[&str]) -> Output {
    diabolo(folder, arguments).output().expect("starts")
}

/// Runs a command that must succeed. Returns its standard output.
pub fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = output(folder, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command that must fail, with one message and no panic. Returns the message.
pub fn fail(folder: &Path, arguments: &[&str]) -> String {
    refused(folder, arguments, 1)
}

/// Runs a command whose arguments make no sense together. Returns the message.
pub fn misuse(folder: &Path, arguments: &[&str]) -> String {
    refused(folder, arguments, 2)
}

fn refused(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = output(folder, arguments);
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert_eq!(error.matches("error: ").count(), 1, "{error}");
    assert!(
        !error.contains("panicked") && !error.contains("RUST_BACKTRACE"),
        "{error}"
    );
    error
}
