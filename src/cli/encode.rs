//! `diabolo encode`

use std::path::PathBuf;

use clap::Args;

use diabolo::data::{Range, folder, npy};
use diabolo::experiment::{Stage, staged};
use diabolo::models::Use;
use diabolo::report::RunFolder;
use diabolo::train::Inference;

use super::progress::Screen;
use super::{DeviceOptions, Done, Failure, print, refuse_to_replace};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo encode runs/mnist-dense-0 --input t10k-images-idx3-ubyte.gz --out features.npy
  diabolo encode runs/mnist-dense-0 --input images.npy --out features.npy
  diabolo encode runs/mnist-dense-0 --input photographs --out features.npy

Images: IDX (plain or gzip); .npy with the shape [n, values], [n, height, width] or \
[n, height, width, channels], either bytes or reals in [0, 1]; a PNG or JPEG file, or a folder of \
them (in order of their paths), which are converted and resized to what the model was trained on.")]
pub struct Options {
    /// Folder of a finished run
    run: PathBuf,
    /// Images: IDX, .npy, PNG, JPEG, or a folder of PNG and JPEG files
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// Features to write, [n, code] in f32
    #[arg(long, value_name = "FILE.npy")]
    out: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    device: DeviceOptions,
}

pub fn encode(options: &Options) -> Result<Done, Failure> {
    let out = &options.out;
    refuse_to_replace(out, options.force)?;
    let (weights, recipe) = RunFolder::existing(&options.run).load_model()?;
    let (images, _) = folder::read_images(&options.input, Some(weights.image), Range::Clean)?;
    let selected = options.device.open()?;
    let mut inference = Inference::new(&recipe, &weights, &selected.backend, &[])?;
    let codes = staged(&mut Screen::new()?, Stage::Encoding, |tick| {
        inference.apply(Use::Encode, &images, tick)
    })
    .map_err(diabolo::Error::from)?;
    npy::write_matrix(out, images.count, inference.width(Use::Encode)?, &codes)?;
    let (count, width) = (images.count, inference.width(Use::Encode)?);
    print(format!(
        "{count} × {width} features written to {}",
        out.display()
    ))?;
    Ok(Done::Fully)
}
