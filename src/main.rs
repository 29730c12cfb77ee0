//! The `diabolo` command: argument parsing, progress and printing; no numerics.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
