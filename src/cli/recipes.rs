//! `diabolo recipes`

use clap::{Args, Subcommand};

use diabolo::emit::Role;
use diabolo::image::ImageShape;
use diabolo::recipe::{self, BUILT_IN, Recipe};
use diabolo::train::{Program, plan_phases};

use super::shape::data_shape;
use super::{Done, Failure, print, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo recipes
  diabolo recipes show mnist-dense > mine.toml   a start for your own
  diabolo recipes show mine.toml --resolved      with every default
  diabolo recipes check mine.toml                keys and layers; no training
  diabolo recipes explain train.schedule         what a key means
  diabolo recipes schema > recipe.schema.json    for editors
  diabolo run mine.toml

Exit codes of `check`: 0 every recipe is right, 1 one is not.")]
pub struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Print a recipe as it was written, with its comments
    Show {
        /// Built-in name or path
        name: String,
        /// Print every key with its value: the recipe's own, those of the recipe that it extends, and defaults
        #[arg(long)]
        resolved: bool,
    },
    /// Explain a key: its meaning, its possible values and its default
    Explain {
        /// A key (`train.batch`), its last part (`batch`) or a table (`train`); all keys if none is given
        key: Option<String>,
        /// Print Markdown
        #[arg(long, conflicts_with = "key")]
        markdown: bool,
    },
    /// Print the JSON schema of recipes
    Schema,
    /// Check recipes without training, and print the sizes of their models
    Check {
        /// Built-in names or paths
        #[arg(required = true)]
        names: Vec<String>,
        /// Height, width and channels of the images, for a recipe whose data set does not fix them
        #[arg(long, value_name = "HxWxC")]
        image: Option<ImageShape>,
    },
}

pub fn recipes(options: &Options) -> Result<Done, Failure> {
    match &options.command {
        Some(Command::Show { name, resolved }) => {
            let text = match resolved {
                true => Recipe::load(name)?.to_toml(),
                false => recipe::source(name)?,
            };
            print(text.trim_end())?;
            return Ok(Done::Fully);
        }
        Some(Command::Explain { markdown: true, .. }) => {
            print(recipe::reference().trim_end())?;
            return Ok(Done::Fully);
        }
        Some(Command::Explain { key, .. }) => return explain(key.as_deref()),
        Some(Command::Schema) => {
            print(serde_json::to_string_pretty(&recipe::schema())?)?;
            return Ok(Done::Fully);
        }
        Some(Command::Check { names, image }) => return check(names, *image),
        None => {}
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

/// Prints what is known of the keys of a name, or of all keys.
fn explain(asked: Option<&str>) -> Result<Done, Failure> {
    let keys = asked.map_or_else(recipe::keys, recipe::keys_named);
    if keys.is_empty() {
        let asked = asked.unwrap_or_default();
        return Err(format!(
            "no key `{asked}` in recipes\nhint: did you mean `{}`? `diabolo recipes explain` lists all \
             keys",
            recipe::nearest_key(asked)
        )
        .into());
    }
    let width = textwrap::Options::new(79)
        .initial_indent("  ")
        .subsequent_indent("  ");
    for (index, key) in keys.iter().enumerate() {
        let of_kind = key
            .kind
            .as_ref()
            .map(|kind| format!(" (kind = \"{kind}\")"));
        let line = if index == 0 { "" } else { "\n" };
        print(format!("{line}{}{}", key.path, of_kind.unwrap_or_default()))?;
        let choices = key
            .choices
            .iter()
            .map(|(name, meaning)| format!("{name}: {meaning}"));
        let example = key.example().map(|example| format!("example: {example}"));
        let facts = [key.facts(), key.meaning.clone()];
        for text in facts.into_iter().chain(choices).chain(example) {
            print(textwrap::fill(&text, &width))?;
        }
    }
    Ok(Done::Fully)
}

/// Checks every recipe; the error is about the first wrong one, and the others are said too.
fn check(names: &[String], image: Option<ImageShape>) -> Result<Done, Failure> {
    let mut wrong = Vec::new();
    for name in names {
        match describe(name, image) {
            Ok(description) => print(format!("{name}: {description}"))?,
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if wrong.is_empty() {
        Ok(Done::Fully)
    } else {
        Err(wrong.join("\n").into())
    }
}

/// What a recipe would train: a line for each phase.
fn describe(name: &str, image: Option<ImageShape>) -> Result<String, Failure> {
    let phases = Recipe::load(name)?.in_phases(name)?;
    // A data set that does not say how many images it has is taken to have a batch at least.
    let largest = phases.iter().max_by_key(|phase| phase.train.batch);
    let shape = data_shape(largest.expect("a recipe has a phase"), image)?;
    let programs =
        plan_phases(&phases, shape).map_err(|error| format!("recipe {name}: {error}"))?;
    let lines = phases.iter().zip(&programs).map(|(recipe, program)| {
        let line = describe_one(recipe, program, shape.image);
        match phases.len() {
            1 => line,
            _ => format!("\n  {}: {line}", recipe.name),
        }
    });
    Ok(lines.collect())
}

fn describe_one(recipe: &Recipe, program: &Program, image: ImageShape) -> String {
    let learnt = program.tensors.iter();
    let learnt = learnt.filter(|tensor| tensor.role == Role::Parameter);
    let parameters: usize = learnt.map(|tensor| tensor.value.len).sum();
    let launches = program.plan.launches(program.train).len();
    format!(
        "right: {} of images of {image}, {parameters} parameters, {launches} launches a step",
        recipe.model.kind()
    )
}
