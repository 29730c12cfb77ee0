//! Weights that PyTorch trained: a `state_dict` of the recipe's model, as safetensors.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use thiserror::Error;

use super::file::{BATCHES, File, RUNNING_MEAN, ReadError};
use super::{Declared, Stored, Weights, tensors};
use crate::emit::Tensor;
use crate::image::ImageShape;
use crate::models::{ModelError, Task};
use crate::plan::PlanBuilder;
use crate::recipe::Recipe;

/// A file that is not the `state_dict` of the recipe's model.
#[derive(Debug, Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error(
        "{0}\nhint: PyTorch writes one by `safetensors.torch.save_file(model.state_dict(), \
         \"model.safetensors\")`"
    )]
    File(#[from] ReadError),
    /// The recipe's layers do not fit its images.
    #[error("recipe {recipe}: {source}")]
    Model {
        /// Its name.
        recipe: String,
        /// Which layer, and why.
        source: ModelError,
    },
    /// Names or shapes are those of another model.
    #[error(
        "{path} holds another model than recipe {recipe} for images of {image} \
         (height×width×channels): {differences}\nhint: import it with a recipe that has its layers"
    )]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The recipe's name.
        recipe: String,
        /// What its model takes.
        image: ImageShape,
        /// Tensors that are missing, left over, or of another shape.
        differences: String,
    },
    /// Numbers of another type.
    #[error(
        "{path}: tensor `{name}` is {dtype:?}, expected F32 or F64\nhint: save \
         `model.float().state_dict()`"
    )]
    Dtype {
        /// The file.
        path: PathBuf,
        /// Which tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
    /// A number that no model can use.
    #[error(
        "{path}: tensor `{name}` holds {value} at index {index} (from 0), which is not finite in \
         f32\nhint: save the model as it was before its training went wrong"
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Which tensor.
        name: String,
        /// The value.
        value: f64,
        /// Of which element, row-major.
        index: usize,
    },
}

/// A model from elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// Its tensors, as the recipe's model declares them.
    pub weights: Weights,
    /// Batches that its norms have seen, 0 if the file does not say. PyTorch counts for each norm;
    /// they differ only if parts were trained on their own, and then this is the largest.
    pub batches: u64,
    /// What every name began with and was left off, such as `module.`.
    pub prefix: String,
}

impl Weights {
    /// Reads the `state_dict` of a recipe's model for this task.
    ///
    /// A prefix that all names share is left off: `DataParallel` puts `module.` before them,
    /// `torch.compile` `_orig_mod.`, a module around the model its own name for it.
    ///
    /// # Errors
    ///
    /// [`ImportError`] if names or shapes differ, or a value is not finite in `f32`.
    pub fn import(path: &Path, recipe: &Recipe, task: Task) -> Result<Imported, ImportError> {
        let declared = Declared::new(PlanBuilder::new(), recipe, task, 1);
        let declared = declared.map_err(|source| ImportError::Model {
            recipe: recipe.name.clone(),
            source,
        })?;
        let declared = &tensors(declared.model.as_ref())[..];
        let file = File::read(path)?;
        let mut views = file.tensors().tensors();
        views.sort_by(|(a, _), (b, _)| a.cmp(b));
        let prefix = common_prefix(declared, &views).to_owned();
        for (name, _) in &mut views {
            name.drain(..prefix.len());
        }
        let differences = differences(declared, &views);
        if !differences.is_empty() {
            return Err(ImportError::OtherModel {
                path: path.to_owned(),
                recipe: recipe.name.clone(),
                image: task.image,
                differences: differences.join("; "),
            });
        }
        let view = |name: &str| views.iter().find(|(there, _)| there == name);
        let tensors = declared.iter().map(|tensor| {
            let (name, view) = view(&tensor.name).expect("nothing is missing");
            Ok(Stored {
                name: name.clone(),
                shape: view.shape().to_vec(),
                values: values(path, name, view)?,
            })
        });
        let tensors = tensors.collect::<Result<_, ImportError>>()?;
        let batches = views.iter().filter(|(name, _)| name.ends_with(BATCHES));
        let batches = batches.map(|(_, view)| count(view).unwrap_or(0)).max();
        Ok(Imported {
            weights: Weights {
                image: task.image,
                classes: task.classes,
                tensors,
            },
            batches: batches.unwrap_or(0),
            prefix,
        })
    }
}

/// What stands before a module's name in every name of the file.
fn common_prefix<'a>(declared: &[Tensor], views: &'a [(String, TensorView)]) -> &'a str {
    let before = |name: &'a str| {
        let mut prefixes = declared.iter().filter_map(|t| name.strip_suffix(&t.name));
        prefixes.find(|prefix| prefix.is_empty() || prefix.ends_with('.'))
    };
    let prefix = views.iter().find_map(|(name, _)| before(name));
    let is_common = |prefix: &&str| views.iter().all(|(name, _)| name.starts_with(prefix));
    prefix.filter(is_common).unwrap_or("")
}

/// How a file's names and shapes differ from a model's: a sentence for each way.
fn differences(declared: &[Tensor], views: &[(String, TensorView)]) -> Vec<String> {
    let tensor = |name: &str| declared.iter().find(|tensor| tensor.name == name);
    let is_counter = |name: &str| {
        name.strip_suffix(BATCHES)
            .is_some_and(|norm| tensor(&format!("{norm}{RUNNING_MEAN}")).is_some())
    };
    let (mut extra, mut changed) = (vec![], vec![]);
    for (name, view) in views {
        match tensor(name) {
            Some(tensor) if view.shape() != tensor.layout.stored_shape() => {
                let (found, expected) = (view.shape(), tensor.layout.stored_shape());
                changed.push(format!("`{name}` is {found:?}, expected {expected:?}"));
            }
            Some(_) => {}
            None if is_counter(name) && count(view).is_some() => {}
            None if is_counter(name) => {
                let (dtype, shape) = (view.dtype(), view.shape());
                changed.push(format!(
                    "`{name}` is {dtype:?} {shape:?}, expected a count, I64 []"
                ));
            }
            None => extra.push(format!("`{name}`")),
        }
    }
    let is_there = |tensor: &&Tensor| views.iter().any(|(name, _)| *name == tensor.name);
    let missing = declared.iter().filter(|tensor| !is_there(tensor));
    let missing: Vec<String> = missing.map(|tensor| format!("`{}`", tensor.name)).collect();
    [
        ("it lacks ", missing),
        ("the recipe's model has no ", extra),
        ("of another shape: ", changed),
    ]
    .into_iter()
    .filter(|(_, list)| !list.is_empty())
    .map(|(what, list)| format!("{what}{}", shortened(&list)))
    .collect()
}

/// A list of any length in one line.
fn shortened(list: &[String]) -> String {
    const MOST: usize = 4;
    let shown = list[..list.len().min(MOST)].join(", ");
    match list.len().saturating_sub(MOST) {
        0 => shown,
        rest => format!("{shown} and {rest} more"),
    }
}

/// A batch norm's counter.
fn count(view: &TensorView) -> Option<u64> {
    let bytes = (view.dtype() == Dtype::I64).then_some(view.data())?;
    let count = i64::from_le_bytes(bytes.try_into().ok()?);
    count.try_into().ok()
}

/// A tensor's values, rounded to `f32` if they are longer.
fn values(path: &Path, name: &str, view: &TensorView) -> Result<Vec<f32>, ImportError> {
    let (path, name) = (path.to_owned(), name.to_owned());
    let exact: Vec<f64> = match view.dtype() {
        Dtype::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(view.data())
            .into_iter()
            .map(f64::from)
            .collect(),
        Dtype::F64 => bytemuck::pod_collect_to_vec(view.data()),
        dtype => return Err(ImportError::Dtype { path, name, dtype }),
    };
    let rounded: Vec<f32> = exact.iter().map(|&value| value as f32).collect();
    match rounded.iter().position(|value| !value.is_finite()) {
        None => Ok(rounded),
        Some(index) => Err(ImportError::NotFinite {
            path,
            name,
            value: exact[index],
            index,
        }),
    }
}
