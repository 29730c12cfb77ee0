//! `summary.json`: the result of a run, for programs.

use std::path::Path;

use serde::Serialize;

use crate::evaluate::{Denoising, Row};
use crate::files::{FileError, write_atomically};
use crate::train::NoteValues;

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The recipe's name.
    pub recipe: String,
    /// `cpu` or `gpu`.
    pub device: String,
    /// The GPU's name; null for the CPU.
    pub adapter: Option<String>,
    /// Of weights, shuffles, noise and draws.
    pub seed: u64,
    /// Passes over the training images.
    pub epochs: usize,
    /// Of the last epoch.
    pub loss: LossPair,
    /// What steps note, of the last epoch: the parts of the loss, by name.
    pub notes: NoteValues,
    /// The part of the held-out images that a classifier takes for another class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_error: Option<f64>,
    /// What judges say, summarised over the draws.
    pub few_label: Vec<Row>,
    /// How well Gaussian noise is removed from the test images, by level.
    pub denoising: Vec<Denoising>,
    /// Of this invocation.
    pub seconds: Seconds,
    /// Over the model's tensors, see [`crate::train::Weights::sha256`].
    pub weights_sha256: String,
}

/// Reconstruction losses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LossPair {
    /// Mean over the training steps.
    pub train: f64,
    /// Mean over the held-out images.
    pub test: f64,
}

/// Wall-clock seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Seconds {
    /// Training.
    pub train: f64,
    /// Encoding and judging.
    pub evaluate: f64,
    /// Everything.
    pub total: f64,
}

impl Summary {
    /// As JSON, indented.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a summary is plain data")
    }

    /// Writes it, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        write_atomically(path, |writer| writeln!(writer, "{}", self.to_json()))
    }
}
