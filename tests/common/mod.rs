//! What several test files need: a small recipe, a few digits.

use diabolo::data::{Dataset, mnist};
use diabolo::recipe::Recipe;

/// A model and a run small enough for a test.
pub const SMALL: &str = r#"
name = "small"

[data]
name = "mnist"
train_images = 600
test_images = 130

[model]
hidden = [40]
code = 6

[noise]
gaussian = 0.4
masking = 0.2

[train]
epochs = 3
batch = 64
learning_rate = 1e-2
schedule = "cosine"
seed = 5

[evaluate]
labels = [20, 50, 600]
draws = 4
"#;

/// [`SMALL`], parsed.
pub fn small() -> Recipe {
    Recipe::parse("small.toml", SMALL).expect("valid")
}

/// The digits it asks for.
pub fn digits() -> Dataset {
    let mut data = mnist::load().expect("bundled");
    data.truncate(600, 130);
    data
}
