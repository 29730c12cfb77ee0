//! Weights and checkpoints as safetensors files, in PyTorch's names and layouts.

mod file;
mod import;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

pub use self::file::ReadError;
use self::file::{File, save};
pub use self::import::{ImportError, Imported};
use crate::device::{Device, DeviceError, HostData};
use crate::emit::{Tensor, initial_values};
use crate::files::FileError;
use crate::image::ImageShape;
use crate::models::Task;
use crate::recipe::{Recipe, RecipeError};

use super::Program;
use super::declare::{Declared, optimiser_state, tensors};

/// A checkpoint that cannot be read, or does not fit.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// Not there, damaged, or no safetensors file.
    #[error(transparent)]
    File(#[from] ReadError),
    /// Not one of ours.
    #[error(
        "{path} is not a checkpoint of this program: {reason}\nhint: give a file that `diabolo run` wrote"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A checkpoint that an earlier version wrote, or a later one.
    #[error(
        "{path} is a checkpoint of format {found}, written by diabolo {version}; this version goes on \
         from format {FORMAT} only\nhint: finish the run with the version that wrote it, or start it \
         again with --force"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: String,
        /// The version of the program that wrote it.
        version: String,
    },
    /// A tensor is missing or has another shape than the model's.
    #[error(
        "{path} does not fit the model of its recipe: {reason}\nhint: give the recipe.toml and the \
         model of one run"
    )]
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

/// The format of checkpoints that this version writes and reads. Format 1 had no such number, one loss,
/// and Adam's moments only.
const FORMAT: &str = "2";

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

/// Reads tensors from their device.
fn read(tensors: &[Tensor], device: &mut dyn Device) -> Result<Vec<Stored>, DeviceError> {
    let read = |tensor: &Tensor| Ok(Stored::new(tensor, &device.read_real(tensor.value)?));
    tensors.iter().map(read).collect()
}

/// Writes each tensor's values, found by its name, to its device.
///
/// Panics unless names and shapes [fit](misfit).
fn write(
    stored: &[Stored],
    tensors: &[Tensor],
    device: &mut dyn Device,
) -> Result<(), DeviceError> {
    let by_name: HashMap<&str, &Stored> = stored.iter().map(|s| (s.name.as_str(), s)).collect();
    for tensor in tensors {
        let values = tensor
            .layout
            .from_stored(&by_name[tensor.name.as_str()].values);
        device.write(tensor.value, HostData::Real(&values))?;
    }
    Ok(())
}

/// The first of these tensors that is missing or has another shape, in a sentence.
fn misfit(stored: &[Stored], tensors: &[Tensor]) -> Option<String> {
    tensors.iter().find_map(|tensor| {
        let (name, expected) = (&tensor.name, tensor.layout.stored_shape());
        match stored.iter().find(|stored| stored.name == *name) {
            None => Some(format!("tensor `{name}` is missing")),
            Some(Stored { shape, .. }) if shape != expected => Some(format!(
                "tensor `{name}` is {shape:?}, expected {expected:?}"
            )),
            Some(_) => None,
        }
    })
}

/// A model's tensors and what it is made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// What the model takes.
    pub image: ImageShape,
    /// Classes that it tells apart; 0 if its data had no labels.
    pub classes: usize,
    /// All tensors, in order of declaration.
    pub tensors: Vec<Stored>,
}

impl Weights {
    /// A new model's first values.
    pub fn initial(tensors: &[Tensor], task: Task, seed: u64) -> Weights {
        let values = initial_values(tensors, seed);
        let stored = tensors.iter().zip(values);
        Weights {
            image: task.image,
            classes: task.classes,
            tensors: stored
                .map(|(tensor, values)| Stored::new(tensor, &values))
                .collect(),
        }
    }

    /// What the model is made for.
    pub fn task(&self) -> Task {
        Task {
            image: self.image,
            classes: self.classes,
        }
    }

    /// Reads all tensors of a model from its device.
    pub fn read(
        tensors: &[Tensor],
        task: Task,
        device: &mut dyn Device,
    ) -> Result<Weights, DeviceError> {
        Ok(Weights {
            image: task.image,
            classes: task.classes,
            tensors: read(tensors, device)?,
        })
    }

    /// Writes them to a model's tensors on a device.
    ///
    /// Panics unless names and shapes are that model's: see [`misfit`](Self::misfit).
    pub fn write(&self, tensors: &[Tensor], device: &mut dyn Device) -> Result<(), DeviceError> {
        write(&self.tensors, tensors, device)
    }

    /// What keeps them from being the values of these tensors, in a sentence.
    pub fn misfit(&self, tensors: &[Tensor]) -> Option<String> {
        misfit(&self.tensors, tensors)
    }

    /// Takes over the tensors of every part that both models have. A part is what the names of its tensors
    /// begin with, up to the first dot.
    ///
    /// Errors, in a sentence, if a tensor of such a part is missing there or has another shape, or if the
    /// models have no part in common.
    pub fn take_over(&mut self, other: &Weights) -> Result<(), String> {
        let part = |stored: &Stored| stored.name.split('.').next().map(str::to_owned);
        let parts: Vec<_> = other.tensors.iter().map(part).collect();
        let mut taken = 0;
        for stored in self.tensors.iter_mut() {
            if !parts.contains(&part(stored)) {
                continue;
            }
            let (name, expected) = (&stored.name, &stored.shape);
            let there = other.tensors.iter().find(|there| there.name == *name);
            let there = there.ok_or_else(|| format!("tensor `{name}` is missing"))?;
            if there.shape != *expected {
                let shape = &there.shape;
                return Err(format!(
                    "tensor `{name}` is {shape:?}, expected {expected:?}"
                ));
            }
            stored.values.clone_from(&there.values);
            taken += 1;
        }
        match taken {
            0 => Err("no part of the model is there".to_owned()),
            _ => Ok(()),
        }
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

    /// Saves the model alone, with its recipe: what PyTorch's `load_state_dict` takes.
    pub fn save(&self, path: &Path, recipe: &Recipe, step: u64) -> Result<(), FileError> {
        let tensors = self.tensors.iter();
        let entries: Vec<_> = tensors.map(|s| (s.name.clone(), s)).collect();
        save(path, &entries, step, &self.metadata(recipe))
    }

    fn metadata(&self, recipe: &Recipe) -> Vec<(&'static str, String)> {
        vec![
            ("diabolo.recipe", recipe.to_toml()),
            ("diabolo.image", self.image.to_string()),
            ("diabolo.classes", self.classes.to_string()),
        ]
    }

    /// Loads a model and its recipe.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if the file cannot be read, or holds another model than its recipe's.
    pub fn load(path: &Path) -> Result<(Weights, Recipe), CheckpointError> {
        let (weights, recipe, _) = File::read(path)?.model()?;
        Ok((weights, recipe))
    }
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

impl Progress {
    /// What keeps it from being that of a run with `steps` steps an epoch, in a sentence.
    fn misfit(&self, steps: usize) -> Option<String> {
        let Progress {
            epoch,
            position,
            step,
        } = *self;
        let before = epoch.checked_mul(steps);
        let done = before.and_then(|before| before.checked_add(position));
        let fits = position <= steps && done.is_some_and(|done| done as u64 == step);
        (!fits).then(|| {
            format!(
                "it stands {position} steps behind epoch {epoch} and {step} behind the beginning, \
                 and an epoch has {steps}: these are other training images"
            )
        })
    }
}

/// Everything a run needs to go on as if it had never stopped.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The model.
    pub weights: Weights,
    /// What the optimisers remember: `adam.m.encoder.0.weight`, say.
    pub state: Vec<Stored>,
    /// What this epoch's first `position` steps noted, by name.
    pub notes: Vec<Stored>,
    /// How far it got.
    pub progress: Progress,
}

/// Before the names of notes in a file.
const NOTES: &str = "train.notes.";

impl Checkpoint {
    /// A run of a program that has not begun, from these weights.
    pub fn initial(weights: Weights, program: &Program) -> Checkpoint {
        let state = optimiser_state(&program.groups, &program.tensors);
        let zeros = |tensor: &Tensor| Stored::new(tensor, &vec![0.0; tensor.value.len]);
        Checkpoint {
            weights,
            state: state.iter().map(zeros).collect(),
            notes: Vec::new(),
            progress: Progress::default(),
        }
    }

    /// Reads a program's model and its optimisers' state from their device. `notes` are the values of
    /// this epoch's steps, by name.
    pub fn read(
        program: &Program,
        task: Task,
        device: &mut dyn Device,
        progress: Progress,
        notes: Vec<Stored>,
    ) -> Result<Checkpoint, DeviceError> {
        let state = optimiser_state(&program.groups, &program.tensors);
        Ok(Checkpoint {
            weights: Weights::read(&program.tensors, task, device)?,
            state: read(&state, device)?,
            notes,
            progress,
        })
    }

    /// Puts a program's model and its optimisers' state back on a device.
    ///
    /// Panics unless names and shapes are that program's: see [`misfit`](Self::misfit).
    pub fn write(&self, program: &Program, device: &mut dyn Device) -> Result<(), DeviceError> {
        self.weights.write(&program.tensors, device)?;
        let state = optimiser_state(&program.groups, &program.tensors);
        write(&self.state, &state, device)
    }

    /// What keeps a program from going on from here, in a sentence.
    pub fn misfit(&self, program: &Program) -> Option<String> {
        let state = optimiser_state(&program.groups, &program.tensors);
        let of_weights = self.weights.misfit(&program.tensors);
        of_weights
            .or_else(|| misfit(&self.state, &state))
            .or_else(|| self.progress.misfit(program.steps))
    }

    /// The values of a note; none if there is no such note.
    pub fn note(&self, name: &str) -> &[f32] {
        let found = self.notes.iter().find(|note| note.name == name);
        found.map_or(&[], |note| &note.values)
    }

    /// Saves it, with the recipe, whole or not at all.
    pub fn save(&self, path: &Path, recipe: &Recipe) -> Result<(), FileError> {
        let Progress {
            epoch,
            position,
            step,
        } = self.progress;
        let mut metadata = self.weights.metadata(recipe);
        metadata.extend([
            ("diabolo.format", FORMAT.to_owned()),
            ("diabolo.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("diabolo.epoch", epoch.to_string()),
            ("diabolo.position", position.to_string()),
            ("diabolo.step", step.to_string()),
        ]);
        let tensors = self.weights.tensors.iter().chain(&self.state);
        let mut entries: Vec<_> = tensors.map(|s| (s.name.clone(), s)).collect();
        let notes = self.notes.iter();
        entries.extend(notes.map(|note| (format!("{NOTES}{}", note.name), note)));
        save(path, &entries, step, &metadata)
    }

    /// Loads a checkpoint and its recipe.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if the file cannot be read, is of another format, or holds another model than
    /// its recipe's.
    pub fn load(path: &Path) -> Result<(Checkpoint, Recipe), CheckpointError> {
        let file = File::read(path)?;
        file.check_format(FORMAT)?;
        let (weights, recipe, declared) = file.model()?;
        let state = optimiser_state(
            declared.emission.groups(),
            &tensors(declared.model.as_ref()),
        );
        let state = state
            .iter()
            .map(|tensor| file.tensor(&tensor.name, tensor.layout.stored_shape()))
            .collect::<Result<_, _>>()?;
        let progress = Progress {
            epoch: file.number("diabolo.epoch")?,
            position: file.number("diabolo.position")?,
            step: file.number("diabolo.step")? as u64,
        };
        let names = file.names();
        let notes = names.iter().filter_map(|name| name.strip_prefix(NOTES));
        let notes = notes.map(|name| {
            let stored = file.tensor(&format!("{NOTES}{name}"), &[progress.position])?;
            let name = name.to_owned();
            Ok(Stored { name, ..stored })
        });
        let notes = notes.collect::<Result<_, CheckpointError>>()?;
        let checkpoint = Checkpoint {
            weights,
            state,
            notes,
            progress,
        };
        Ok((checkpoint, recipe))
    }
}
