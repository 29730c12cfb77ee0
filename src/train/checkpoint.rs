//! Weights and checkpoints as safetensors files, in PyTorch's names and layouts.

mod file;
mod import;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

pub use self::file::ReadError;
use self::file::{File, save};
pub use self::import::{ImportError, Imported};
use crate::buffer::{BufferId, View};
use crate::device::{Device, DeviceError, HostData};
use crate::files::FileError;
use crate::image::ImageShape;
use crate::layers::{Parameters, Role, Tensor};
use crate::models::ModelError;
use crate::recipe::{Recipe, RecipeError};

/// A checkpoint that cannot be read, or does not fit.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// Not there, damaged, or no safetensors file.
    #[error(transparent)]
    File(#[from] ReadError),
    /// Not one of ours.
    #[error("{path} is not a checkpoint of this program: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is missing or has another shape than the model's.
    #[error("{path} does not fit the model of its recipe: {reason}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// Which tensor, with both shapes.
        reason: String,
    },
    /// The recipe stored with it is wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

/// A tensor as files hold it: PyTorch's name, shape and order of elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Such as `encoder.0.weight`.
    pub name: String,
    /// Such as `[out, in]`.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// A model's tensors and the shape of its images.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// What the model takes.
    pub image: ImageShape,
    /// All tensors, in order of declaration.
    pub tensors: Vec<Stored>,
}

impl Stored {
    /// A tensor with values in this program's order of elements.
    fn new(tensor: &Tensor, values: &[f32]) -> Stored {
        Stored {
            name: tensor.name.clone(),
            shape: tensor.layout.stored_shape().to_vec(),
            values: tensor.layout.to_stored(values),
        }
    }
}

impl Weights {
    /// A new model's first values.
    pub fn initial(parameters: &Parameters, image: ImageShape, seed: u64) -> Weights {
        let values = parameters.initial_values(seed);
        let tensors = parameters.tensors.iter().zip(values);
        Weights {
            image,
            tensors: tensors
                .map(|(tensor, values)| Stored::new(tensor, &values))
                .collect(),
        }
    }

    /// Reads all tensors of a model for images of this shape from its device.
    pub fn read(
        parameters: &Parameters,
        image: ImageShape,
        device: &mut dyn Device,
    ) -> Result<Weights, DeviceError> {
        let tensors = parameters.tensors.iter();
        let tensors = tensors
            .map(|tensor| read_tensor(tensor, tensor.value, device))
            .collect::<Result<_, _>>()?;
        Ok(Weights { image, tensors })
    }

    /// Writes them to a model on a device; names and shapes must be that model's.
    pub fn write(
        &self,
        parameters: &Parameters,
        device: &mut dyn Device,
    ) -> Result<(), DeviceError> {
        for (tensor, stored) in parameters.tensors.iter().zip(&self.tensors) {
            let values = tensor.layout.from_stored(&stored.values);
            device.write(tensor.value, HostData::Real(&values))?;
        }
        Ok(())
    }

    /// SHA-256 over every value, as little-endian `f32`, tensor by tensor.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for stored in &self.tensors {
            hash.update(bytemuck::cast_slice::<f32, u8>(&stored.values));
        }
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// A tensor's values, or its Adam moments, as files hold them.
fn read_tensor(
    tensor: &Tensor,
    view: View,
    device: &mut dyn Device,
) -> Result<Stored, DeviceError> {
    Ok(Stored::new(tensor, &device.read_real(view)?))
}

/// Where a training run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whole epochs done.
    pub epoch: usize,
    /// Steps done of the next one.
    pub position: usize,
    /// Steps done since the beginning.
    pub step: u64,
}

/// Everything a run needs to go on as if it had never stopped.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The model.
    pub weights: Weights,
    /// Adam's m of each parameter.
    pub mean: Vec<Stored>,
    /// Adam's v of each parameter.
    pub variance: Vec<Stored>,
    /// Losses of this epoch's first `position` steps.
    pub losses: Vec<f32>,
    /// How far it got.
    pub progress: Progress,
}

/// The parameters among a model's tensors: those that Adam keeps moments of.
fn learnt(parameters: &Parameters) -> impl Iterator<Item = &Tensor> {
    let tensors = parameters.tensors.iter();
    tensors.filter(|tensor| tensor.role == Role::Parameter)
}

/// The same range of another of the flat buffers.
fn beside(view: View, buffer: BufferId) -> View {
    View { buffer, ..view }
}

impl Checkpoint {
    /// A run that has not begun.
    pub fn initial(parameters: &Parameters, image: ImageShape, seed: u64) -> Checkpoint {
        let zeros: Vec<Stored> = learnt(parameters)
            .map(|tensor| Stored::new(tensor, &vec![0.0; tensor.value.len]))
            .collect();
        Checkpoint {
            weights: Weights::initial(parameters, image, seed),
            mean: zeros.clone(),
            variance: zeros,
            losses: Vec::new(),
            progress: Progress::default(),
        }
    }

    /// Reads a model and Adam's moments from their device.
    pub fn read(
        parameters: &Parameters,
        image: ImageShape,
        device: &mut dyn Device,
        progress: Progress,
        losses: Vec<f32>,
    ) -> Result<Checkpoint, DeviceError> {
        let mut moments = |buffer| {
            learnt(parameters)
                .map(|tensor| read_tensor(tensor, beside(tensor.value, buffer), device))
                .collect::<Result<Vec<_>, _>>()
        };
        let (mean, variance) = (moments(parameters.mean)?, moments(parameters.variance)?);
        Ok(Checkpoint {
            weights: Weights::read(parameters, image, device)?,
            mean,
            variance,
            losses,
            progress,
        })
    }

    /// Puts a model and Adam's moments back on a device.
    pub fn write(
        &self,
        parameters: &Parameters,
        device: &mut dyn Device,
    ) -> Result<(), DeviceError> {
        self.weights.write(parameters, device)?;
        let moments = [
            (parameters.mean, &self.mean),
            (parameters.variance, &self.variance),
        ];
        for (buffer, stored) in moments {
            for (tensor, stored) in learnt(parameters).zip(stored) {
                let values = tensor.layout.from_stored(&stored.values);
                device.write(beside(tensor.value, buffer), HostData::Real(&values))?;
            }
        }
        Ok(())
    }

    /// Saves it, with the recipe, whole or not at all.
    pub fn save(&self, path: &Path, recipe: &Recipe) -> Result<(), FileError> {
        let Progress {
            epoch,
            position,
            step,
        } = self.progress;
        let metadata = [
            ("diabolo.recipe", recipe.to_toml()),
            ("diabolo.image", self.weights.image.to_string()),
            ("diabolo.epoch", epoch.to_string()),
            ("diabolo.position", position.to_string()),
            ("diabolo.step", step.to_string()),
        ];
        let losses = Stored {
            name: "losses".to_owned(),
            shape: vec![self.losses.len()],
            values: self.losses.clone(),
        };
        let mut entries: Vec<(String, &Stored)> = vec![("train.losses".to_owned(), &losses)];
        let groups = [
            ("", &self.weights.tensors),
            ("adam.m.", &self.mean),
            ("adam.v.", &self.variance),
        ];
        for (prefix, group) in groups {
            let named = |stored: &'_ Stored| format!("{prefix}{}", stored.name);
            entries.extend(group.iter().map(|stored| (named(stored), stored)));
        }
        save(path, &entries, step, &metadata)
    }

    /// Loads a checkpoint and its recipe.
    ///
    /// `declare` returns the tensors of a recipe's model for images of a shape.
    pub fn load(
        path: &Path,
        declare: impl Fn(&Recipe, ImageShape) -> Result<Parameters, ModelError>,
    ) -> Result<(Checkpoint, Recipe), CheckpointError> {
        let file = File::read(path)?;
        let (weights, recipe, parameters) = file.model(declare)?;
        let moments = |prefix: &str| {
            learnt(&parameters)
                .map(|tensor| file.tensor(prefix, &tensor.name, tensor.layout.stored_shape()))
                .collect::<Result<Vec<_>, _>>()
        };
        let progress = Progress {
            epoch: file.number("diabolo.epoch")?,
            position: file.number("diabolo.position")?,
            step: file.number("diabolo.step")? as u64,
        };
        let checkpoint = Checkpoint {
            weights,
            mean: moments("adam.m.")?,
            variance: moments("adam.v.")?,
            losses: file
                .tensor("train.", "losses", &[progress.position])?
                .values,
            progress,
        };
        Ok((checkpoint, recipe))
    }
}

impl Weights {
    /// Saves the model alone, with its recipe: what PyTorch's `load_state_dict` takes.
    pub fn save(&self, path: &Path, recipe: &Recipe, step: u64) -> Result<(), FileError> {
        let tensors = self.tensors.iter();
        let entries: Vec<_> = tensors.map(|s| (s.name.clone(), s)).collect();
        let metadata = [
            ("diabolo.recipe", recipe.to_toml()),
            ("diabolo.image", self.image.to_string()),
        ];
        save(path, &entries, step, &metadata)
    }

    /// Loads a model and its recipe; see [`Checkpoint::load`].
    pub fn load(
        path: &Path,
        declare: impl Fn(&Recipe, ImageShape) -> Result<Parameters, ModelError>,
    ) -> Result<(Weights, Recipe), CheckpointError> {
        let (weights, recipe, _) = File::read(path)?.model(declare)?;
        Ok((weights, recipe))
    }
}
