//! The images that a recipe means, before any are read.

use diabolo::image::ImageShape;
use diabolo::recipe::Recipe;
use diabolo::train::DataShape;

use super::Failure;

/// Images of a data set that does not say how many it has.
const IMAGES: usize = 10_000;
/// Classes of a data set that does not say how many it has.
const CLASSES: usize = 10;

/// How many images a recipe's data set has and how large they are; `asked` is what `--image` says, for
/// recipes that leave the size open.
///
/// Errors if nobody says how large they are, or if both do and differ.
pub fn data_shape(recipe: &Recipe, asked: Option<ImageShape>) -> Result<DataShape, Failure> {
    let name = &recipe.name;
    let image = match (recipe.data.image(), asked) {
        (Some(image), Some(asked)) if image != asked => {
            return Err(format!(
                "--image {asked}: recipe {name} says that its images are {image}\nhint: leave --image out"
            )
            .into());
        }
        (Some(image), _) | (None, Some(image)) => image,
        (None, None) => {
            return Err(format!(
                "recipe {name} does not say how large its images are\nhint: --image HxWxC, such as \
                 --image 64x64x3"
            )
            .into());
        }
    };
    let [train, held_out] = recipe.data.counts().unwrap_or([IMAGES; 2]);
    Ok(DataShape {
        train: train.max(recipe.train.batch),
        held_out,
        image,
        classes: recipe.data.classes().unwrap_or(CLASSES),
    })
}
