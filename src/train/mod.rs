//! Training: epochs of the `train` routine, held-out losses, checkpoints, and what goes wrong.

mod begin;
mod checkpoint;
mod declare;
mod feed;
mod inference;
mod metrics;
mod program;
mod trainer;
mod windows;

pub(crate) use begin::phase_before;
pub use begin::{Begin, plan_phases};
pub use checkpoint::{
    Checkpoint, CheckpointError, ImportError, Imported, Progress, ReadError, Stored, Weights,
};
pub use declare::{Declared, tensors};
pub use feed::{Feed, Source};
pub use inference::{Inference, Restored};
pub use metrics::{EpochRecord, Metrics, NoteValues};
pub use program::{DataShape, EvaluationPass, Program, noise};
pub use trainer::{Observer, Outcome, Silent, Trainer};

use std::path::PathBuf;

use thiserror::Error;

use crate::data::DataError;
use crate::device::DeviceError;
use crate::files::FileError;
use crate::image::ImageShape;
use crate::models::{ModelError, Use};
use crate::plan::PlanError;
use crate::progress::Interrupted;

/// What can end a training run early.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The model does not fit.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The recipe's layers do not fit its images.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The work was stopped, as asked.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Images could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The thread that reads images could not be started.
    #[error("could not start a thread to read images: {0}")]
    Thread(std::io::Error),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// More images in a batch than there are.
    #[error(
        "`train.batch = {batch}`, but there are only {images} training images\n\
         hint: batch = {images}, or fewer"
    )]
    BatchTooLarge {
        /// The recipe's batch.
        batch: usize,
        /// Training images.
        images: usize,
    },
    /// Held-out images of another size than the training images.
    #[error(
        "the held-out images are {held_out} (height×width×channels), the training images {train}: \
         expected images of one size\nhint: bring both to one size"
    )]
    Shapes {
        /// One training image.
        train: ImageShape,
        /// One held-out image.
        held_out: ImageShape,
    },
    /// As many labels as there are images, or none, and it is neither.
    #[error("{labels} labels for {images} images: expected one for each, or none")]
    Labels {
        /// Labels given.
        labels: usize,
        /// Images given.
        images: usize,
    },
    /// Images of another size than the model's.
    #[error(
        "the images are {given} (height×width×channels), and the model was trained on {model}\n\
         hint: give images of {model}"
    )]
    OtherImages {
        /// What the model takes.
        model: ImageShape,
        /// What it is given.
        given: ImageShape,
    },
    /// A model that cannot begin with the trained one that it is to begin with.
    #[error(
        "recipe {recipe} begins with {origin}, but {reason}\nhint: give `model` the convolutions, widths \
         and activations of that model, or take another one"
    )]
    Begin {
        /// The recipe's name.
        recipe: String,
        /// The trained model's file, or the phase before.
        origin: String,
        /// What does not fit.
        reason: String,
    },
    /// Weights of another model.
    #[error(
        "these weights are of another model than the recipe's: {0}\nhint: take the recipe.toml that lies \
         beside the weights"
    )]
    OtherModel(String),
    /// The trained model that a recipe begins with cannot be read.
    #[error(
        "`train.from` names {path}: {source}\nhint: from = \"runs/mnist-dense-0/model.safetensors\", a \
         file that `diabolo run` or `diabolo import` wrote"
    )]
    From {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<CheckpointError>,
    },
    /// A model is asked for something it is not made for.
    #[error(
        "a model of kind \"{kind}\" cannot {}: it can {}\nhint: take a run of another kind: autoencoders \
         and variational autoencoders restore, classifiers classify",
        which.name(),
        uses.iter().map(|which| which.name()).collect::<Vec<_>>().join(" and ")
    )]
    NoSuchUse {
        /// The model's kind.
        kind: &'static str,
        /// What it is asked for.
        which: Use,
        /// What it can do.
        uses: &'static [Use],
    },
    /// A search that cannot be planned, or rows that are not those it was planned for.
    #[error("a search by `{what} = {value}`: expected {expected}")]
    Search {
        /// Of what.
        what: &'static str,
        /// How many.
        value: usize,
        /// How many there may be.
        expected: String,
    },
    /// The run's record of its epochs is gone.
    #[error(
        "the run has no record of its last epoch: `metrics.jsonl` was deleted or shortened\n\
         hint: run again with --force"
    )]
    NoEpochs,
    /// The loss is NaN or infinite.
    #[error(
        "the loss is {loss} at step {step} (epoch {epoch}): the first buffer that is not finite is \
         `{buffer}`, written by {launch}; the last good checkpoint, if an epoch was finished, is kept\n\
         hint: lower `train.learning_rate`, or set `train.clip_norm`"
    )]
    NotFinite {
        /// Its value.
        loss: f32,
        /// Step since the beginning, from 1.
        step: u64,
        /// Epoch, from 1.
        epoch: usize,
        /// The first buffer with such a value.
        buffer: String,
        /// The launch that wrote it.
        launch: String,
    },
}
