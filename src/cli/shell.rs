//! `diabolo completions` and `diabolo man`: what shells and `man` know of the commands.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use diabolo::files::write_atomically;

use super::{Done, Failure, print};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo completions bash > ~/.local/share/bash-completion/completions/diabolo
  diabolo completions zsh > ~/.zfunc/_diabolo
  diabolo completions fish > ~/.config/fish/completions/diabolo.fish")]
pub struct CompletionOptions {
    /// Whose completions
    shell: Shell,
}

/// Prints a shell's completions of a command.
pub fn completions(options: &CompletionOptions, mut command: Command) -> Result<Done, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut command, "diabolo", &mut text);
    print(String::from_utf8(text)?.trim_end())?;
    Ok(Done::Fully)
}

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo man --out ~/.local/share/man/man1  then: man diabolo, man diabolo-run")]
pub struct ManOptions {
    /// Folder for the pages, diabolo.1 and one for each command
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// Writes a manual page for a command and for each of its subcommands.
pub fn man(options: &ManOptions, command: Command) -> Result<Done, Failure> {
    let folder = options.out.display();
    fs::create_dir_all(&options.out)
        .map_err(|error| format!("cannot make the folder {folder}: {error}"))?;
    let mut pages = vec![("diabolo".to_owned(), command.clone())];
    for part in command.get_subcommands() {
        let name = format!("diabolo-{}", part.get_name());
        let bin = format!("diabolo {}", part.get_name());
        let part = part.clone().display_name(name.clone()).bin_name(bin);
        pages.push((name, part));
    }
    for (name, command) in pages {
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .title(name.clone())
            .render(&mut page)?;
        write_atomically(&options.out.join(format!("{name}.1")), |writer| {
            writer.write_all(&page)
        })?;
    }
    Ok(Done::Fully)
}
