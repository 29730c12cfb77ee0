//! The `diabolo` command: argument parsing, progress and printing; no numerics.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    quiet_mesa();
    cli::main()
}

/// Keeps Mesa's device-select layer from writing `error: XDG_RUNTIME_DIR is invalid` to our
/// standard error on machines without a desktop. The layer only orders adapters for windows.
fn quiet_mesa() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: nothing else runs yet that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
