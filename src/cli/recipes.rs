//! `diabolo recipes`

use clap::{Args, Subcommand};

use diabolo::recipe::{BUILT_IN, Recipe};

use super::{Done, Failure, print, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo recipes
  diabolo recipes show mnist-dense > mine.toml    a start for one's own
  diabolo run mine.toml")]
pub struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Print a recipe as TOML, every default spelled out
    Show {
        /// Built-in name or path
        name: String,
    },
}

pub fn recipes(options: &Options) -> Result<Done, Failure> {
    if let Some(Command::Show { name }) = &options.command {
        print(Recipe::load(name)?.to_toml().trim_end())?;
        return Ok(Done::Fully);
    }
    let recipes = BUILT_IN
        .iter()
        .map(|(name, text)| Recipe::parse(name, text));
    let recipes = recipes.collect::<Result<Vec<_>, _>>()?;
    if options.json {
        print(serde_json::to_string_pretty(&recipes)?)?;
        return Ok(Done::Fully);
    }
    let mut table = table::new(["recipe", "what it does"]);
    for recipe in recipes {
        table.add_row([recipe.name, recipe.description]);
    }
    print(table)?;
    Ok(Done::Fully)
}
