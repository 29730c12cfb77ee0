//! `diabolo import`

use std::path::PathBuf;

use clap::Args;

use diabolo::image::ImageShape;
use diabolo::models::Task;
use diabolo::recipe::Recipe;
use diabolo::report::{RunFolder, Start};
use diabolo::train::Weights;

use super::say::say;
use super::shape::image_shape;
use super::{Done, Failure, print, refuse_to_replace};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo import model.safetensors --recipe mnist-dense --out runs/torch
  diabolo encode runs/torch --input images.npy --out features.npy
  diabolo import photographs.safetensors --recipe mine.toml --image 64x64x3 --out runs/photographs

The file is what safetensors.torch.save_file(model.state_dict(), ...) writes, in F32 or F64, which \
is rounded to f32. Its model has an `encoder` and a `decoder`, both nn.Sequential, with the names \
and shapes of the recipe's model: those of model.safetensors in the folder of any run of the recipe. \
What wrappers put before every name, `module.` (DataParallel) or `_orig_mod.` (torch.compile), is \
left off; `num_batches_tracked` may be absent.")]
pub struct Options {
    /// A PyTorch state_dict, saved as safetensors
    #[arg(value_name = "FILE.safetensors")]
    file: PathBuf,
    /// Built-in name (see `diabolo recipes`) or path of a TOML file: the model's layers
    #[arg(long, value_name = "NAME|FILE.toml")]
    recipe: String,
    /// Folder to write the run to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Height, width and channels of the images, for a recipe whose data set does not fix them
    #[arg(long, value_name = "HxWxC")]
    image: Option<ImageShape>,
    /// Replace the run that the folder holds
    #[arg(long)]
    force: bool,
}

pub fn import(options: &Options) -> Result<Done, Failure> {
    let out = &options.out;
    refuse_to_replace(out, options.force)?;
    let recipe = Recipe::load_last_phase(&options.recipe)?;
    let image = image_shape(&recipe, options.image)?;
    let classes = recipe.data.classes().unwrap_or(0);
    let folder = RunFolder::open(out, Start::Force)?;
    let imported = Weights::import(&options.file, &recipe, Task { image, classes })?;
    folder.settle(&recipe, &imported.weights, imported.batches)?;
    if !imported.prefix.is_empty() {
        say(format!(
            "every name began with `{}`: left off",
            imported.prefix
        ));
    }
    let tensors = &imported.weights.tensors;
    let values: usize = tensors.iter().map(|tensor| tensor.values.len()).sum();
    print(format!(
        "{} tensors of {values} values, for images of {image}, written to {}",
        tensors.len(),
        out.display()
    ))?;
    Ok(Done::Fully)
}
