//! One error over all: whatever a call of this library can fail with.

use thiserror::Error;

use crate::data::DataError;
use crate::device::DeviceError;
use crate::files::FileError;
use crate::models::ModelError;
use crate::plan::PlanError;
use crate::progress::Interrupted;
use crate::recipe::RecipeError;
use crate::report::{FolderError, PictureError};
use crate::train::{CheckpointError, ImportError, TrainError};

/// What can go wrong, by the part of the library that it went wrong in.
#[derive(Debug, Error)]
pub enum ErrorKind {
    /// A recipe is wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// Images or labels are missing or wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Layers do not fit their images.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A plan does not fit the memory.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no such device, or it failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Training or inference failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A run's folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A checkpoint or model could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A model of PyTorch's could not be taken over.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A picture could not be made.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A recipe asks for labelled images of a data set without labels.
    #[error(
        "recipe {recipe}: `evaluate.labels = {labels:?}`, but the data set {data} has no labels to \
         classify with\nhint: labels = []"
    )]
    Unlabelled {
        /// The recipe's name.
        recipe: String,
        /// Numbers of labelled images.
        labels: Vec<usize>,
        /// The data set's name.
        data: String,
    },
    /// The work was stopped before its end, as asked.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Any error of this library. Its message is whole on its own; [`kind`](Self::kind) says what it is.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

impl Error {
    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// Whether the work was stopped, as asked, rather than failed.
    pub fn is_interruption(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Interrupted(_)
                | ErrorKind::Train(TrainError::Interrupted(_))
                | ErrorKind::Picture(PictureError::Inference(TrainError::Interrupted(_)))
        )
    }
}

impl<E: Into<ErrorKind>> From<E> for Error {
    fn from(error: E) -> Self {
        Error(Box::new(error.into()))
    }
}
