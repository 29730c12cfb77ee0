//! What is wrong with a recipe.

use std::path::PathBuf;

use thiserror::Error;

use crate::data::DataError;

/// What is wrong with a recipe.
#[derive(Debug, Error)]
pub enum RecipeError {
    /// Neither a built-in name nor a file.
    #[error(
        "no recipe `{asked}`: it is neither a file nor one of the built-in recipes ({known})\n\
         hint: did you mean {nearest}?"
    )]
    Unknown {
        /// What was asked for.
        asked: String,
        /// Names there are.
        known: String,
        /// The one most like what was asked for.
        nearest: &'static str,
    },
    /// The file could not be read.
    #[error(
        "cannot read recipe {path}: {source}\nhint: check that the file may be read, and is text"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("recipe {origin}: {message}\nhint: {hint}")]
    Parse {
        /// File or built-in name.
        origin: String,
        /// Line, key, value and what was expected.
        message: String,
        /// What to type.
        hint: String,
    },
    /// The recipe that it extends is missing or wrong.
    #[error("recipe {origin} extends `{base}`: {source}")]
    Extends {
        /// File or built-in name.
        origin: String,
        /// What it extends.
        base: String,
        /// What is wrong with that.
        source: Box<RecipeError>,
    },
    /// A recipe extends itself, or recipes extend each other.
    #[error(
        "recipe {origin}: `extends = \"{base}\"`: expected recipes that do not extend each other in a circle\n\
         hint: extends = \"mnist-dense\""
    )]
    Circle {
        /// A recipe of the circle.
        origin: String,
        /// What it extends.
        base: String,
    },
    /// `[data]` makes no sense.
    #[error("recipe {origin}: {source}\nhint: {hint}")]
    Data {
        /// File or built-in name.
        origin: String,
        /// The key, what it says, and what it may say.
        source: Box<DataError>,
        /// What to type.
        hint: String,
    },
    /// A value out of range.
    #[error("recipe {origin}: `{key} = {value}`: expected {expected}\nhint: {hint}")]
    Value {
        /// File or built-in name.
        origin: String,
        /// `table.key`
        key: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        expected: String,
        /// What to type.
        hint: String,
    },
}
