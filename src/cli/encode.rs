//! `diabolo encode`

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use diabolo::data::{Images, idx, npy};
use diabolo::report::RunFolder;
use diabolo::train::Inference;

use super::{DeviceOptions, Done, Failure, print};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo encode runs/mnist-dense-0 --input t10k-images-idx3-ubyte.gz --out features.npy
  diabolo encode runs/mnist-dense-0 --input images.npy --out features.npy

Images: IDX (plain or gzip), or .npy with the shape [n, values], [n, height, width] or
[n, height, width, channels], either bytes or reals in [0, 1].")]
pub struct Options {
    /// Folder of a finished run
    run: PathBuf,
    /// Images, IDX or .npy
    #[arg(long, value_name = "FILE")]
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
    if out.exists() && !options.force {
        return Err(format!(
            "{} is there already: choose another name, or --force",
            out.display()
        )
        .into());
    }
    let (weights, recipe) = RunFolder::existing(&options.run).load_model()?;
    let images = read(&options.input)?;
    if images.shape() != weights.image && images.features() != weights.image.features() {
        return Err(format!(
            "{}: images of {} (height×width×channels), but the model of {} takes {}",
            options.input.display(),
            images.shape(),
            options.run.display(),
            weights.image
        )
        .into());
    }
    let selected = options.device.open()?;
    let mut inference = Inference::new(&recipe, &weights, &selected.backend, &[])?;
    let bar = super::progress::bar("encoding", images.count as u64);
    let codes = inference.encode(&images, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    npy::write_matrix(out, images.count, inference.code_width(), &codes)?;
    let (count, width) = (images.count, inference.code_width());
    print(format!(
        "{count} × {width} features written to {}",
        out.display()
    ))?;
    Ok(Done::Fully)
}

/// Reads .npy by its magic bytes, else IDX.
fn read(path: &Path) -> Result<Images, Failure> {
    let mut start = [0; 6];
    let is_npy = std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| start == *b"\x93NUMPY");
    Ok(if is_npy {
        npy::read_images(path)?
    } else {
        idx::read_images(path)?
    })
}
