//! Weights and checkpoints as safetensors files, in PyTorch's names and layouts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::device::{Device, DeviceError, HostData};
use crate::files::{FileError, write_atomically};
use crate::layers::{Layout, Parameters, Role, Tensor};
use crate::plan::{BufferId, View};
use crate::recipe::{Recipe, RecipeError};

/// A checkpoint that cannot be read, or does not fit.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// Not there, or not readable.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a safetensors file, or not one of ours.
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

/// All tensors of a model, in order of declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights(pub Vec<Stored>);

/// The shape of a tensor in PyTorch.
fn stored_shape(tensor: &Tensor) -> Vec<usize> {
    match tensor.layout {
        Layout::Same => vec![tensor.value.len],
        Layout::Transposed { rows, cols } => vec![cols, rows],
    }
}

/// `[rows, cols]` to `[cols, rows]`.
fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..cols * rows)
        .map(|i| values[i % rows * cols + i / rows])
        .collect()
}

/// From this program's order of elements to PyTorch's.
fn to_stored(tensor: &Tensor, values: Vec<f32>) -> Vec<f32> {
    match tensor.layout {
        Layout::Same => values,
        Layout::Transposed { rows, cols } => transpose(&values, rows, cols),
    }
}

/// From PyTorch's order of elements to this program's.
fn from_stored(tensor: &Tensor, values: &[f32]) -> Vec<f32> {
    match tensor.layout {
        Layout::Same => values.to_vec(),
        Layout::Transposed { rows, cols } => transpose(values, cols, rows),
    }
}

impl Weights {
    /// A new model's first values.
    pub fn initial(parameters: &Parameters, seed: u64) -> Weights {
        let values = parameters.initial_values(seed);
        let stored = parameters.tensors.iter().zip(values);
        Weights(
            stored
                .map(|(tensor, values)| Stored {
                    name: tensor.name.clone(),
                    shape: stored_shape(tensor),
                    values: to_stored(tensor, values),
                })
                .collect(),
        )
    }

    /// Reads all tensors of a model from its device.
    pub fn read(parameters: &Parameters, device: &mut dyn Device) -> Result<Weights, DeviceError> {
        let tensors = parameters.tensors.iter();
        tensors
            .map(|tensor| read_tensor(tensor, tensor.value, device))
            .collect::<Result<_, _>>()
            .map(Weights)
    }

    /// Writes them to a model on a device; names and shapes must be that model's.
    pub fn write(
        &self,
        parameters: &Parameters,
        device: &mut dyn Device,
    ) -> Result<(), DeviceError> {
        for (tensor, stored) in parameters.tensors.iter().zip(&self.0) {
            let values = from_stored(tensor, &stored.values);
            device.write(tensor.value, HostData::Real(&values))?;
        }
        Ok(())
    }

    /// Values of an image, by the shape of the encoder's first weight.
    pub fn features(&self) -> Option<usize> {
        let first = self
            .0
            .iter()
            .find(|stored| stored.name == "encoder.0.weight")?;
        first.shape.get(1).copied()
    }

    /// SHA-256 over every value, as little-endian `f32`, tensor by tensor.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for stored in &self.0 {
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
    Ok(Stored {
        name: tensor.name.clone(),
        shape: stored_shape(tensor),
        values: to_stored(tensor, device.read_real(view)?),
    })
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
    pub fn initial(parameters: &Parameters, seed: u64) -> Checkpoint {
        let zeros: Vec<Stored> = learnt(parameters)
            .map(|tensor| Stored {
                name: tensor.name.clone(),
                shape: stored_shape(tensor),
                values: vec![0.0; tensor.value.len],
            })
            .collect();
        Checkpoint {
            weights: Weights::initial(parameters, seed),
            mean: zeros.clone(),
            variance: zeros,
            losses: Vec::new(),
            progress: Progress::default(),
        }
    }

    /// Reads a model and Adam's moments from their device.
    pub fn read(
        parameters: &Parameters,
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
            weights: Weights::read(parameters, device)?,
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
                let values = from_stored(tensor, &stored.values);
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
            ("", &self.weights.0),
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
    /// `declare` returns the tensors of a recipe's model for images of so many values.
    pub fn load(
        path: &Path,
        declare: impl Fn(&Recipe, usize) -> Parameters,
    ) -> Result<(Checkpoint, Recipe), CheckpointError> {
        let file = File::read(path)?;
        let (weights, recipe, parameters) = file.model(declare)?;
        let moments = |prefix: &str| {
            learnt(&parameters)
                .map(|tensor| file.tensor(prefix, &tensor.name, &stored_shape(tensor)))
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
        let entries: Vec<_> = self.0.iter().map(|s| (s.name.clone(), s)).collect();
        save(
            path,
            &entries,
            step,
            &[("diabolo.recipe", recipe.to_toml())],
        )
    }

    /// Loads a model and its recipe; see [`Checkpoint::load`].
    pub fn load(
        path: &Path,
        declare: impl Fn(&Recipe, usize) -> Parameters,
    ) -> Result<(Weights, Recipe), CheckpointError> {
        let (weights, recipe, _) = File::read(path)?.model(declare)?;
        Ok((weights, recipe))
    }
}

fn save(
    path: &Path,
    entries: &[(String, &Stored)],
    step: u64,
    metadata: &[(&str, String)],
) -> Result<(), FileError> {
    let view = |shape: &[usize], bytes| {
        TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("shapes are those of the values")
    };
    let mut views: Vec<(String, TensorView)> = entries
        .iter()
        .map(|(name, s)| {
            (
                name.clone(),
                view(&s.shape, bytemuck::cast_slice(&s.values)),
            )
        })
        .collect();
    // PyTorch's batch norm counts its batches, and misses the counter where it is not there.
    let count = (step as i64).to_le_bytes();
    for (name, _) in entries {
        if let Some(norm) = name.strip_suffix(".running_mean") {
            let counter = TensorView::new(Dtype::I64, vec![], &count).expect("one i64");
            views.push((format!("{norm}.num_batches_tracked"), counter));
        }
    }
    let mut info: HashMap<String, String> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    info.insert("format".to_owned(), "pt".to_owned());
    let bytes = safetensors::serialize(views, Some(info)).expect("names are unique");
    write_atomically(path, |writer| writer.write_all(&bytes))
}

/// A safetensors file, read whole.
struct File {
    path: PathBuf,
    bytes: Vec<u8>,
    metadata: HashMap<String, String>,
}

impl File {
    fn read(path: &Path) -> Result<File, CheckpointError> {
        let bytes = std::fs::read(path).map_err(|source| CheckpointError::Read {
            path: path.to_owned(),
            source,
        })?;
        let format = |reason: String| CheckpointError::Format {
            path: path.to_owned(),
            reason,
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| format(e.to_string()))?;
        SafeTensors::deserialize(&bytes).map_err(|e| format(e.to_string()))?;
        Ok(File {
            path: path.to_owned(),
            metadata: header.metadata().clone().unwrap_or_default(),
            bytes,
        })
    }

    fn entry(&self, key: &str) -> Result<&str, CheckpointError> {
        let value = self.metadata.get(key).map(String::as_str);
        value.ok_or_else(|| CheckpointError::Format {
            path: self.path.clone(),
            reason: format!("its header has no `{key}`"),
        })
    }

    fn number(&self, key: &str) -> Result<usize, CheckpointError> {
        let value = self.entry(key)?;
        value.parse().map_err(|_| CheckpointError::Format {
            path: self.path.clone(),
            reason: format!("`{key}` is {value:?}, not a number"),
        })
    }

    /// The tensor `{prefix}{name}`, which must have this shape.
    fn tensor(&self, prefix: &str, name: &str, shape: &[usize]) -> Result<Stored, CheckpointError> {
        let wrong = |reason: String| CheckpointError::Shape {
            path: self.path.clone(),
            reason,
        };
        let tensors = SafeTensors::deserialize(&self.bytes).expect("checked when read");
        let full = format!("{prefix}{name}");
        let view = tensors
            .tensor(&full)
            .map_err(|_| wrong(format!("tensor `{full}` is missing")))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(wrong(format!(
                "tensor `{full}` is {:?} {:?}, expected F32 {shape:?}",
                view.dtype(),
                view.shape()
            )));
        }
        Ok(Stored {
            name: name.to_owned(),
            shape: shape.to_vec(),
            values: bytemuck::pod_collect_to_vec(view.data()),
        })
    }

    /// The model's tensors, checked against the recipe that is stored beside them.
    fn model(
        &self,
        declare: impl Fn(&Recipe, usize) -> Parameters,
    ) -> Result<(Weights, Recipe, Parameters), CheckpointError> {
        let origin = format!("in {}", self.path.display());
        let recipe = Recipe::parse(&origin, self.entry("diabolo.recipe")?)?;
        let tensors = SafeTensors::deserialize(&self.bytes).expect("checked when read");
        let first = tensors.tensor("encoder.0.weight").ok();
        let features = first.and_then(|view| view.shape().get(1).copied());
        let features = features.ok_or_else(|| CheckpointError::Shape {
            path: self.path.clone(),
            reason: "tensor `encoder.0.weight` is missing or not a matrix".to_owned(),
        })?;
        let parameters = declare(&recipe, features);
        let stored = parameters.tensors.iter();
        let weights = stored
            .map(|tensor| self.tensor("", &tensor.name, &stored_shape(tensor)))
            .collect::<Result<_, _>>()
            .map(Weights)?;
        Ok((weights, recipe, parameters))
    }
}

#[cfg(test)]
mod tests {
    use super::transpose;

    #[test]
    fn transposing_twice_gives_the_same_back() {
        let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
        let there = transpose(&values, 2, 3);
        assert_eq!(there, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(transpose(&there, 3, 2), values);
    }
}
