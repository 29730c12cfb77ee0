//! `diabolo denoise`

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;

use diabolo::data::{Range, folder, npy, picture};
use diabolo::experiment::{Stage, staged};
use diabolo::models::Use;
use diabolo::report::{RunFolder, write_image};
use diabolo::train::Inference;

use super::progress::Screen;
use super::{DeviceOptions, Done, Failure, print, refuse_to_replace};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo denoise runs/mnist-conv-0 --input noisy.png --out clean.png
  diabolo denoise runs/images-conv-0 --input photographs --out restored
  diabolo denoise runs/mnist-conv-0 --input noisy.npy --out clean.npy

Pictures are converted and resized to what the model was trained on, and come back as PNG files of \
that size: one for one, or a folder for a folder, with the same names. Arrays (.npy, IDX) come back \
as one .npy file, [n, height, width, channels] in f32 within [0, 1]. An .npy file of reals may leave \
[0, 1] as far as its noise does, but must be on that scale.")]
pub struct Options {
    /// Folder of a finished run
    run: PathBuf,
    /// Noisy images: PNG, JPEG, a folder of them, .npy or IDX
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// Restored images to write: a PNG file, a folder, or an .npy file, as the input is
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Replace what is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    device: DeviceOptions,
}

/// What the restored images become.
enum Output {
    /// One PNG file.
    Picture,
    /// A folder of PNG files.
    Folder,
    /// One .npy file.
    Array,
}

pub fn denoise(options: &Options) -> Result<Done, Failure> {
    let (input, out) = (&options.input, &options.out);
    let (weights, recipe) = RunFolder::existing(&options.run).load_model()?;
    let (images, files) = folder::read_images(input, Some(weights.image), Range::Noisy)?;
    let (output, ending) = match (input.is_dir(), picture::is_picture(input)) {
        (true, _) => (Output::Folder, None),
        (_, true) => (Output::Picture, Some("png")),
        _ => (Output::Array, Some("npy")),
    };
    let given = out.extension().and_then(|ending| ending.to_str());
    if let Some(ending) = ending.filter(|ending| given != Some(ending)) {
        let (input, out) = (input.display(), out.display());
        return Err(format!(
            "--out {out}: expected a name that ends in .{ending}, which is what {input} becomes\n\
             hint: --out denoised.{ending}"
        )
        .into());
    }
    refuse_to_replace(out, options.force)?;
    let targets: Vec<PathBuf> = match output {
        Output::Folder => targets(input, &files, out)?,
        _ => vec![],
    };

    let selected = options.device.open()?;
    let mut inference = Inference::new(&recipe, &weights, &selected.backend, &[])?;
    let restored = staged(&mut Screen::new()?, Stage::Denoising, |tick| {
        inference.apply(Use::Restore, &images, tick)
    })
    .map_err(diabolo::Error::from)?;

    let shape = weights.image;
    match output {
        Output::Picture => write_image(out, &restored, shape)?,
        Output::Array => {
            let dims = [images.count, shape.height, shape.width, shape.channels];
            npy::write_array(out, &dims, &restored)?;
        }
        Output::Folder => {
            for (target, image) in targets.iter().zip(restored.chunks_exact(shape.features())) {
                if let Some(parent) = target.parent() {
                    std::fs::create_dir_all(parent)
                        .map_err(|error| format!("cannot make {}: {error}", parent.display()))?;
                }
                write_image(target, image, shape)?;
            }
        }
    }
    let count = images.count;
    print(format!(
        "{count} restored images written to {}",
        out.display()
    ))?;
    Ok(Done::Fully)
}

/// Where each picture of a folder goes: the same name in another folder, as PNG.
fn targets(input: &Path, files: &[PathBuf], out: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut from = HashMap::new();
    let target = |file: &PathBuf| {
        let below = file.strip_prefix(input).unwrap_or(file);
        let target = out.join(below).with_extension("png");
        match from.insert(target.clone(), file.clone()) {
            None => Ok(target),
            Some(other) => Err(format!(
                "{} and {} would both become {}\nhint: rename one of them",
                other.display(),
                file.display(),
                target.display()
            )),
        }
    };
    let targets: Result<_, _> = files.iter().map(target).collect();
    Ok(targets?)
}
