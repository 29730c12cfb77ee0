//! What several test modules need: two small recipes, a few digits, the program, a GPU.

pub mod adapter;
pub mod geometry;
pub mod program;
pub mod sets;
pub mod watchers;

use diabolo::data::{Dataset, Examples, mnist};
use diabolo::recipe::Recipe;
use diabolo::trace::random_images;

/// A model and a run small enough for a test.
pub fn small() -> Recipe {
    Recipe::parse("small.toml", include_str!("small.toml")).expect("valid")
}

/// A convolutional model as small.
pub fn small_conv() -> Recipe {
    Recipe::parse("small-conv.toml", include_str!("small-conv.toml")).expect("valid")
}

/// The digits they ask for.
pub fn digits() -> Dataset {
    let mut data = mnist::load().expect("bundled");
    data.truncate(600, 130);
    data
}

/// Images of the kind that a built-in recipe asks for, at least a batch: digits, or else noise.
pub fn examples_for(recipe: &Recipe, digits: &Dataset) -> Examples {
    if recipe.data.name == "mnist" {
        return digits.training();
    }
    let image = recipe.data.image().expect("known");
    Examples::from(&random_images(image, recipe.train.batch))
}
