//! The safetensors files behind weights and checkpoints.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use thiserror::Error;

use super::{CheckpointError, Declared, Stored, Weights, tensors};
use crate::files::{FileError, write_atomically};
use crate::image::ImageShape;
use crate::models::Task;
use crate::plan::PlanBuilder;
use crate::recipe::Recipe;

/// A safetensors file that cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Not there, or not readable.
    #[error("cannot read {path}: {source}\nhint: check that the file exists and may be read")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Cut off, or something else.
    #[error(
        "{path} is damaged, or no safetensors file: {reason}\nhint: restore it from a copy, or \
         make it again"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// What follows a batch norm's name where its running mean is kept.
pub(super) const RUNNING_MEAN: &str = ".running_mean";
/// What follows it where PyTorch counts batches.
pub(super) const BATCHES: &str = ".num_batches_tracked";

/// Writes tensors and metadata, whole or not at all. Every batch norm among them gets a counter.
pub(super) fn save(
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
        if let Some(norm) = name.strip_suffix(RUNNING_MEAN) {
            let counter = TensorView::new(Dtype::I64, vec![], &count).expect("one i64");
            views.push((format!("{norm}{BATCHES}"), counter));
        }
    }
    let mut info: HashMap<String, String> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    info.insert("format".to_owned(), "pt".to_owned());
    let bytes = safetensors::serialize(views, Some(info)).expect("names are unique");
    let (header, tensors) = sorted_header(&bytes);
    write_atomically(path, |writer| {
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(&header)?;
        writer.write_all(tensors)
    })
}

/// A safetensors file's header with its keys in order, and its tensors. The library has metadata from
/// a hash map, in another order every time: the same run would leave another file.
fn sorted_header(file: &[u8]) -> (Vec<u8>, &[u8]) {
    let (len, rest) = file.split_at(8);
    let len = u64::from_le_bytes(len.try_into().expect("eight bytes"));
    let (header, tensors) = rest.split_at(len as usize);
    // serde_json keeps the keys of an object sorted.
    let header: serde_json::Value = serde_json::from_slice(header).expect("the library's own");
    let mut header = header.to_string().into_bytes();
    // Tensors begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    (header, tensors)
}

/// A safetensors file, read whole.
pub(super) struct File {
    path: PathBuf,
    bytes: Vec<u8>,
    metadata: HashMap<String, String>,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<File, ReadError> {
        let bytes = std::fs::read(path).map_err(|source| ReadError::Io {
            path: path.to_owned(),
            source,
        })?;
        let format = |reason: String| ReadError::Format {
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

    /// Its tensors.
    pub(super) fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("checked when read")
    }

    fn entry(&self, key: &str) -> Result<&str, CheckpointError> {
        let value = self.metadata.get(key).map(String::as_str);
        value.ok_or_else(|| CheckpointError::Format {
            path: self.path.clone(),
            reason: format!("its header has no `{key}`"),
        })
    }

    pub(super) fn number(&self, key: &str) -> Result<usize, CheckpointError> {
        let value = self.entry(key)?;
        value.parse().map_err(|_| CheckpointError::Format {
            path: self.path.clone(),
            reason: format!("`{key}` is {value:?}, not a number"),
        })
    }

    /// Errors unless the file says that it has this format.
    pub(super) fn check_format(&self, format: &str) -> Result<(), CheckpointError> {
        let of = |key: &str| self.metadata.get(key).map(String::as_str);
        // Something else has no recipe either, which `model` says.
        let found = match of("diabolo.format") {
            None if of("diabolo.recipe").is_none() => return Ok(()),
            found => found.unwrap_or("1"),
        };
        if found == format {
            return Ok(());
        }
        Err(CheckpointError::Version {
            path: self.path.clone(),
            found: found.to_owned(),
            version: of("diabolo.version").unwrap_or("0.1.0").to_owned(),
        })
    }

    /// The names of its tensors, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tensors().names().into_iter().map(Into::into).collect();
        names.sort();
        names
    }

    /// The tensor of this name, which must have this shape.
    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Stored, CheckpointError> {
        let wrong = |reason: String| CheckpointError::Shape {
            path: self.path.clone(),
            reason,
        };
        let tensors = self.tensors();
        let view = tensors
            .tensor(name)
            .map_err(|_| wrong(format!("tensor `{name}` is missing")))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(wrong(format!(
                "tensor `{name}` is {:?} {:?}, expected F32 {shape:?}",
                view.dtype(),
                view.shape()
            )));
        }
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(CheckpointError::Shape {
                path: self.path.clone(),
                reason: format!("tensor `{name}` has the value {value}"),
            });
        }
        Ok(Stored {
            name: name.to_owned(),
            shape: shape.to_vec(),
            values,
        })
    }

    /// The model's tensors, checked against the recipe that is stored beside them.
    pub(super) fn model(&self) -> Result<(Weights, Recipe, Declared), CheckpointError> {
        let origin = format!("in {}", self.path.display());
        let recipe = Recipe::parse(&origin, self.entry("diabolo.recipe")?)?;
        let shape = |reason: String| CheckpointError::Shape {
            path: self.path.clone(),
            reason,
        };
        let image: ImageShape = self
            .entry("diabolo.image")?
            .parse()
            .map_err(|error| shape(format!("`diabolo.image`: {error}")))?;
        // Files without it were written before models could read labels.
        let classes = match self.metadata.contains_key("diabolo.classes") {
            true => self.number("diabolo.classes")?,
            false => 0,
        };
        let task = Task { image, classes };
        let declared = Declared::new(PlanBuilder::new(), &recipe, task, 1);
        let declared = declared.map_err(|error| shape(error.to_string()))?;
        let tensors = tensors(declared.model.as_ref());
        let tensors = tensors
            .iter()
            .map(|tensor| self.tensor(&tensor.name, tensor.layout.stored_shape()))
            .collect::<Result<_, _>>()?;
        let weights = Weights {
            image,
            classes,
            tensors,
        };
        Ok((weights, recipe, declared))
    }
}
