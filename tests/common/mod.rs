//! What several test files need: a small recipe, a few digits.

use diabolo::data::{Dataset, mnist};
use diabolo::recipe::Recipe;

/// A model and a run small enough for a test.
pub fn small() -> Recipe {
    Recipe::parse("small.toml", include_str!("small.toml")).expect("valid")
}

/// The digits it asks for.
pub fn digits() -> Dataset {
    let mut data = mnist::load().expect("bundled");
    data.truncate(600, 130);
    data
}
