//! Training: epochs of the `train` routine, held-out losses, checkpoints, and what goes wrong.

mod checkpoint;
mod inference;
mod metrics;
mod program;
mod trainer;
mod windows;

pub use checkpoint::{
    Checkpoint, CheckpointError, ImportError, Imported, Progress, ReadError, Stored, Weights,
};
pub use inference::{Inference, Restored};
pub use metrics::{EpochRecord, Metrics};
pub use program::{DataShape, EvaluationPass, Program, noise, note_loss, train_step};
pub use trainer::{Observer, Outcome, Silent, Trainer};

use thiserror::Error;

use crate::data::DataError;
use crate::device::DeviceError;
use crate::files::FileError;
use crate::image::ImageShape;
use crate::layers::Parameters;
use crate::models::{Autoencoder, ModelError};
use crate::plan::{PlanBuilder, PlanError};
use crate::recipe::Recipe;

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
    #[error("`train.batch = {batch}`, but there are only {images} training images")]
    BatchTooLarge {
        /// The recipe's batch.
        batch: usize,
        /// Training images.
        images: usize,
    },
    /// The loss is NaN or infinite.
    #[error(
        "the loss is {loss} at step {step} (epoch {epoch}): the first buffer that is not finite is \
         `{buffer}`, written by {launch}. Lower `train.learning_rate`; the last good checkpoint, if \
         an epoch was finished, is kept"
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

/// The tensors of a recipe's model for images of a shape.
pub fn declare(recipe: &Recipe, image: ImageShape) -> Result<Parameters, ModelError> {
    let mut plan = PlanBuilder::new();
    let model = Autoencoder::new(&mut plan, &recipe.model.shape(image))?;
    Ok(model.parameters)
}
