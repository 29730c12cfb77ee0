//! The images that a recipe means, before any are read.

use diabolo::image::ImageShape;
use diabolo::recipe::Recipe;
use diabolo::train::DataShape;

use super::Failure;

/// Images of a data set that does not say how many it has.
const IMAGES: usize = 10_000;
/// Classes of a data set that does not say how many it has.
const CLASSES: usize = 10;

/// How large the images of a recipe are; `asked` is what `--image` says, for recipes that leave the size open.
///
/// Errors if neither the recipe nor `--image` says it, or if both do and differ.
pub fn image_shape(recipe: &Recipe, asked: Option<ImageShape>) -> Result<ImageShape, Failure> {
    let (name, data) = (&recipe.name, &recipe.data.name);
    match (recipe.data.image(), asked) {
        (Some(known), Some(asked)) if known != asked => Err(format!(
            "--image {asked}: recipe {name} learns from images of {known} (data set {data:?})\n\
             hint: leave --image out, or choose another recipe"
        )
        .into()),
        (Some(image), _) | (None, Some(image)) => Ok(image),
        (None, None) => Err(format!(
            "recipe {name} does not say how large its images are (data set {data:?})\n\
             hint: --image HxWxC, such as --image 64x64x3"
        )
        .into()),
    }
}

/// How many images a recipe's data set has and how large they are; `asked` as for [`image_shape`].
pub fn data_shape(recipe: &Recipe, asked: Option<ImageShape>) -> Result<DataShape, Failure> {
    let image = image_shape(recipe, asked)?;
    let [train, held_out] = recipe.data.counts().unwrap_or([IMAGES; 2]);
    Ok(DataShape {
        train: train.max(recipe.train.batch),
        held_out,
        image,
        classes: recipe.data.classes().unwrap_or(CLASSES),
    })
}
