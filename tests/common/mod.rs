//! What several test files need: two small recipes, a few digits.

use diabolo::data::{Dataset, mnist};
use diabolo::recipe::Recipe;

/// A model and a run small enough for a test.
pub fn small() -> Recipe {
    Recipe::parse("small.toml", include_str!("small.toml")).expect("valid")
}

/// A convolutional model as small.
#[allow(dead_code)] // Not every test file trains both.
pub fn small_conv() -> Recipe {
    Recipe::parse("small-conv.toml", include_str!("small-conv.toml")).expect("valid")
}

/// The digits they ask for.
#[allow(dead_code)] // Nor does every one look at digits.
pub fn digits() -> Dataset {
    let mut data = mnist::load().expect("bundled");
    data.truncate(600, 130);
    data
}
