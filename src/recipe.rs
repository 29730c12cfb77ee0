//! Recipes: a whole experiment as a typed TOML file.
//!
//! Four tables say what to learn from (`data`), what learns (`model`), what it must undo (`noise`)
//! and how (`train`); `evaluate` says how the features are judged. The built-in recipes stand in
//! `recipes/` and are embedded in the binary.

use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::Selection;
use crate::data::draws::Sampling;
use crate::files::folder_of;
use crate::models::Settings;

mod check;
mod error;
mod hint;
mod phase;
mod resolve;
mod schema;
mod train;

pub use error::RecipeError;
pub use phase::{Phase, model_of_phase};
pub use schema::{Key, keys, keys_named, nearest_key, reference, schema};
pub use train::{OptimiserName, Schedule, Train};

/// A built-in recipe: its name, and the text of its file.
macro_rules! built_in {
    ($name:literal) => {
        ($name, include_str!(concat!("../recipes/", $name, ".toml")))
    };
}

/// Name and text of every built-in recipe.
pub const BUILT_IN: &[(&str, &str)] = &[
    built_in!("mnist-dense"),
    built_in!("mnist-conv"),
    built_in!("fashion-dense"),
    built_in!("fashion-conv"),
    built_in!("cifar10-conv"),
    built_in!("images-conv"),
    built_in!("mnist-tied"),
    built_in!("mnist-vae"),
    built_in!("mnist-classifier"),
    built_in!("mnist-classifier-conv"),
    built_in!("mnist-head"),
    built_in!("reference-conv"),
    built_in!("reference-dense"),
];

/// The text of a built-in recipe.
fn built_in(name: &str) -> Option<&'static str> {
    let found = BUILT_IN.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

/// The text of a recipe, built-in or a file, as it was written: with its comments.
///
/// # Errors
///
/// [`RecipeError`] if there is no such recipe, or the file cannot be read.
pub fn source(name_or_path: &str) -> Result<String, RecipeError> {
    let path = Path::new(name_or_path);
    match built_in(name_or_path) {
        Some(text) => Ok(text.to_owned()),
        None if path.is_file() => text_of(path),
        None => Err(unknown(name_or_path)),
    }
}

/// The error of a name that is neither built in nor a file's.
fn unknown(asked: &str) -> RecipeError {
    let names: Vec<&'static str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    RecipeError::Unknown {
        asked: asked.to_owned(),
        nearest: hint::nearest(asked, names.iter().copied()).expect("there are recipes"),
        known: names.join(", "),
    }
}

fn text_of(path: &Path) -> Result<String, RecipeError> {
    std::fs::read_to_string(path).map_err(|source| RecipeError::Read {
        path: path.to_owned(),
        source,
    })
}

/// A whole experiment, of any kind of model or of kind `M`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe<M = Settings> {
    /// The recipe's name: letters, digits, `-`, `_` and `.`. It names the folder of a run.
    pub name: String,
    /// One line about the recipe, which `diabolo recipes` prints.
    #[serde(default)]
    pub description: String,
    /// The images to learn from.
    pub data: Selection,
    /// The model that is trained.
    pub model: M,
    /// How images are corrupted before the model sees them.
    pub noise: Noise,
    /// How the model is trained.
    pub train: Train,
    /// How the trained model is judged.
    pub evaluate: Evaluate,
    /// What is trained one after the other, if it is more than one thing.
    #[serde(default, rename = "phase", skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub phases: Vec<Phase>,
}

/// `[noise]`: first a distortion of the whole image, each number drawn evenly from ± what is said
/// here, then noise on its pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Largest shift down and across, in pixels; each image draws its own from ± this number.
    #[serde(default)]
    pub shift: f32,
    /// Largest rotation about the centre, in degrees; each image draws its own from ± this number.
    #[serde(default)]
    pub rotation: f32,
    /// Largest change of size: with 0.1, each image is drawn at 0.9 to 1.1 times its size.
    #[serde(default)]
    pub scale: f32,
    /// Largest slant, in columns per row; each image draws its own from ± this number.
    #[serde(default)]
    pub shear: f32,
    /// Standard deviation σ of the Gaussian noise that is added to every pixel; pixels are in [0, 1].
    #[serde(default)]
    pub gaussian: f32,
    /// Probability that a pixel is set to 0, after the Gaussian noise.
    #[serde(default)]
    pub masking: f32,
}

/// `[evaluate]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// Numbers of labelled images that the judges see, ascending; an empty list skips judging. A number as
    /// large as the training set is drawn once.
    pub labels: Vec<usize>,
    /// How many times labelled images are drawn, for each number of them.
    pub draws: usize,
    /// How labelled images are drawn.
    #[serde(default)]
    pub sampling: Sampling,
    /// How features are normalised before distances between them are computed.
    #[serde(default)]
    pub normalise: Normalise,
    /// Standard deviations σ of Gaussian noise at which denoising is measured; an empty list skips it.
    #[serde(default = "noise_levels")]
    pub noise_levels: Vec<f32>,
}

fn noise_levels() -> Vec<f32> {
    vec![0.1, 0.25, 0.5, 0.75, 1.0]
}

/// What is done to features before distances are taken; statistics come from the unlabelled
/// training images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// Nothing.
    #[default]
    None,
    /// Each feature's mean is subtracted.
    Centre,
    /// Each feature's mean is subtracted, and it is divided by its standard deviation.
    Standardise,
    /// Each feature's mean is subtracted, and each principal component is divided by the square
    /// root of its standard deviation: half way to whitening, which would let noise weigh as much
    /// as digits.
    HalfWhiten,
}

/// What `model.kind` says; an autoencoder if there is no such key.
fn kind(table: &toml::Table) -> String {
    let kind = table.get("model").and_then(|model| model.get("kind"));
    match kind {
        None => Settings::DEFAULT_KIND.to_owned(),
        Some(toml::Value::String(kind)) => kind.clone(),
        Some(other) => other.to_string(),
    }
}

/// The table that a text is.
fn table(origin: &str, text: &str) -> Result<toml::Table, RecipeError> {
    toml::from_str(text).map_err(|error| parse_error(origin, &error, Settings::DEFAULT_KIND))
}

/// Reads a recipe whose model is of a kind, whose table `M` is.
fn read_as<M: DeserializeOwned>(
    origin: &str,
    text: &str,
    kind: &str,
    settings: fn(M) -> Settings,
) -> Result<Recipe, RecipeError> {
    let recipe: Recipe<M> =
        toml::from_str(text).map_err(|error| parse_error(origin, &error, kind))?;
    Ok(Recipe {
        name: recipe.name,
        description: recipe.description,
        data: recipe.data,
        model: settings(recipe.model),
        noise: recipe.noise,
        train: recipe.train,
        evaluate: recipe.evaluate,
        phases: recipe.phases,
    })
}

/// What the parser says of a recipe whose model is of a kind.
fn parse_error(origin: &str, error: &toml::de::Error, kind: &str) -> RecipeError {
    RecipeError::Parse {
        origin: origin.to_owned(),
        message: hint::in_words(error.to_string().trim_end()),
        hint: hint::of_parser(error.message(), kind, schema::has_model_key),
    }
}

impl Recipe {
    /// A built-in recipe by name, or one from a file.
    ///
    /// # Errors
    ///
    /// [`RecipeError`] if there is no such recipe, or something is wrong with it.
    pub fn load(name_or_path: &str) -> Result<Recipe, RecipeError> {
        Recipe::find(name_or_path, Path::new(""), 0)
    }

    /// What the last phase of a recipe trains: the recipe itself, if it has no phases.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_last_phase(name_or_path: &str) -> Result<Recipe, RecipeError> {
        let mut phases = Recipe::load(name_or_path)?.in_phases(name_or_path)?;
        Ok(phases.pop().expect("a recipe has a phase"))
    }

    /// The recipe, with files looked for in a folder; so many recipes extend this one already.
    fn find(name_or_path: &str, folder: &Path, depth: usize) -> Result<Recipe, RecipeError> {
        if let Some(text) = built_in(name_or_path) {
            return Recipe::parse_in(name_or_path, text, folder, depth);
        }
        let path = folder.join(name_or_path);
        if path.is_file() {
            return Recipe::read_at(&path, depth);
        }
        Err(unknown(name_or_path))
    }

    /// Reads a recipe file. Relative paths in it start at its folder, and become absolute.
    ///
    /// # Errors
    ///
    /// [`RecipeError`] if the file cannot be read, or something is wrong with it.
    pub fn read(path: &Path) -> Result<Recipe, RecipeError> {
        Recipe::read_at(path, 0)
    }

    fn read_at(path: &Path, depth: usize) -> Result<Recipe, RecipeError> {
        let text = text_of(path)?;
        let folder = folder_of(path);
        let mut recipe = Recipe::parse_in(&path.display().to_string(), &text, folder, depth)?;
        let paths = recipe
            .data
            .paths_mut()
            .into_iter()
            .chain(&mut recipe.train.from);
        for path in paths {
            // Fails for an empty path alone, which is an error when the file is read.
            *path = std::path::absolute(folder.join(&*path)).unwrap_or(path.clone());
        }
        Ok(recipe)
    }

    /// Parses and checks a recipe; `origin` is named in errors. Paths stay as they are.
    ///
    /// # Errors
    ///
    /// [`RecipeError`] with the first thing that is wrong.
    pub fn parse(origin: &str, text: &str) -> Result<Recipe, RecipeError> {
        Recipe::parse_in(origin, text, Path::new(""), 0)
    }

    fn parse_in(
        origin: &str,
        text: &str,
        folder: &Path,
        depth: usize,
    ) -> Result<Recipe, RecipeError> {
        let own = table(origin, text)?;
        let extended = resolve::extended(origin, own.clone(), folder, depth)?;
        let (text, whole) = match &extended {
            Some(text) => (text.as_str(), table(origin, text)?),
            None => (text, own),
        };
        let recipe = Recipe::read_text(origin, text, &whole)?;
        recipe.check(origin)?;
        Ok(recipe)
    }

    /// Reads a recipe that extends none; `whole` is the table that `text` is.
    fn read_text(origin: &str, text: &str, whole: &toml::Table) -> Result<Recipe, RecipeError> {
        let kind = kind(whole);
        match kind.as_str() {
            "autoencoder" => read_as(origin, text, &kind, Settings::Autoencoder),
            "vae" => read_as(origin, text, &kind, Settings::Vae),
            "classifier" => read_as(origin, text, &kind, Settings::Classifier),
            kind => {
                let nearest = hint::nearest(kind, Settings::KINDS).expect("there are kinds");
                Err(RecipeError::Value {
                    origin: origin.to_owned(),
                    key: "model.kind",
                    value: format!("{kind:?}"),
                    expected: format!("one of {}", Settings::KINDS.join(", ")),
                    hint: format!("kind = {nearest:?}"),
                })
            }
        }
    }

    /// The recipe as TOML, every default spelled out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe has nothing that TOML cannot hold")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(from: &str, to: &str) -> Result<Recipe, RecipeError> {
        let text = BUILT_IN[0].1;
        assert!(text.contains(from), "the built-in recipe says `{from}`");
        Recipe::parse("test.toml", &text.replacen(from, to, 1))
    }

    fn message(from: &str, to: &str) -> String {
        with(from, to).expect_err("a wrong recipe").to_string()
    }

    #[test]
    fn built_in_recipes_parse_and_survive_a_round_trip() {
        for (name, text) in BUILT_IN {
            let recipe = Recipe::parse(name, text).expect("valid");
            assert_eq!(recipe.name, *name);
            let again = Recipe::parse(name, &recipe.to_toml()).expect("valid");
            assert_eq!(recipe, again);
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let message = message("[train]", "[train]\nepoch = 3");
        assert!(
            message.contains("test.toml") && message.contains("epoch"),
            "{message}"
        );
        assert!(message.contains("expected one of"), "{message}");
    }

    #[test]
    fn keys_that_make_no_sense_for_a_data_set_are_errors_that_name_both() {
        let data = "name = \"mnist\"";
        let folder = "name = \"images\"\npath = \"photographs\"";
        for (to, parts) in [
            (
                "name = \"emnist\"".to_owned(),
                ["`data.name = \"emnist\"`", "cifar10"],
            ),
            (
                format!("{data}\npath = \"x\""),
                ["`data.path = \"x\"`", "\"mnist\" takes only"],
            ),
            (
                format!("{data}\ntest_images = 0"),
                ["`data.test_images = 0`", "at least one"],
            ),
            (format!("{data}\ncolour = \"red\""), ["red", "grey"]),
            ("name = \"images\"".to_owned(), ["data.path", "of your own"]),
            (
                format!("{folder}\nheight = 3"),
                ["`data.height = 3`", "data.width"],
            ),
            (
                format!("{folder}\nheight = 0\nwidth = 1"),
                ["`data.height = 0`", "one pixel"],
            ),
            (
                format!("{folder}\nheight = 99999\nwidth = 99999"),
                ["99999", "at most 16777216"],
            ),
            (
                format!("{folder}\ntest_part = 1.0"),
                ["`data.test_part = 1`", "0 < p < 1"],
            ),
            (
                format!("{folder}\nlabels = \"y.npy\""),
                ["data.labels", "`colour`"],
            ),
        ] {
            let message = message(data, &to);
            for part in parts {
                assert!(message.contains(part), "{to}: {message}");
            }
        }
    }

    #[test]
    fn a_folder_of_images_survives_a_round_trip() {
        let to = "name = \"images\"\npath = \"photographs\"\nheight = 32\nwidth = 48\n\
                  colour = \"grey\"\ntest_part = 0.25";
        let recipe = with("name = \"mnist\"", to).expect("valid");
        assert_eq!(
            (recipe.data.height, recipe.data.width),
            (Some(32), Some(48))
        );
        let again = Recipe::parse("again", &recipe.to_toml()).expect("valid");
        assert_eq!(recipe, again);
    }

    #[test]
    fn a_negative_width_is_an_error_that_quotes_it() {
        let message = message("hidden = [", "hidden = [-512, ");
        assert!(
            message.contains("-512") && message.contains("hidden"),
            "{message}"
        );
    }

    #[test]
    fn zero_epochs_and_a_giant_code_are_errors_that_say_what_was_expected() {
        let mut recipe = Recipe::load("mnist-dense").expect("valid");
        recipe.train.epochs = 0;
        let message = recipe.check("x").expect_err("zero epochs").to_string();
        assert!(
            message.contains("train.epochs = 0") && message.contains("1 to"),
            "{message}"
        );
        recipe.train.epochs = 1;
        recipe.model.autoencoder_mut().expect("one").code = 1 << 40;
        let message = recipe.check("x").expect_err("a giant code").to_string();
        assert!(message.contains("model.code = 1099511627776"), "{message}");
    }

    #[test]
    fn a_missing_recipe_lists_those_there_are() {
        let message = Recipe::load("mnist-dens").expect_err("unknown").to_string();
        assert!(
            message.contains("mnist-dens`") && message.contains("mnist-dense"),
            "{message}"
        );
    }
}
