//! `metrics.jsonl`: one line of JSON per epoch.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::emit::Unit;
use crate::files::{FileError, write_atomically};

/// What is known after an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Steps since the beginning.
    pub step: u64,
    /// Mean loss of its training steps.
    pub train_loss: f64,
    /// Mean loss of the held-out images, with the evaluation noise.
    pub test_loss: f64,
    /// What the steps note, by name.
    #[serde(default)]
    pub notes: NoteValues,
    /// Training images per second.
    pub images_per_second: f64,
    /// Seconds it took.
    pub seconds: f64,
}

/// The noted values of an epoch, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NoteValues {
    /// Means over the training steps.
    pub train: BTreeMap<String, f64>,
    /// Means over the held-out images.
    pub held_out: BTreeMap<String, f64>,
    /// What each value is a mean over.
    pub units: BTreeMap<String, Unit>,
}

/// The file.
pub struct Metrics {
    path: PathBuf,
}

impl Metrics {
    /// Opens the file of a run that has done so many epochs, and drops any line beyond them: a
    /// run that was killed may have noted an epoch whose checkpoint it could not finish.
    pub fn open(path: &Path, epochs: usize) -> Result<Metrics, FileError> {
        let kept = Metrics::read(path)
            .into_iter()
            .filter(|record| record.epoch <= epochs);
        let text: String = kept.map(|record| line(&record)).collect();
        write_atomically(path, |writer| writer.write_all(text.as_bytes()))?;
        Ok(Metrics {
            path: path.to_owned(),
        })
    }

    /// The whole lines of a file; none if there is no file.
    pub fn read(path: &Path) -> Vec<EpochRecord> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Appends a line.
    pub fn append(&mut self, record: &EpochRecord) -> Result<(), FileError> {
        let write = || {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            file.write_all(line(record).as_bytes())
        };
        write().map_err(|source| FileError {
            path: self.path.clone(),
            step: "appending a line",
            source,
        })
    }
}

fn line(record: &EpochRecord) -> String {
    let json = serde_json::to_string(record).expect("a record is plain data");
    json + "\n"
}
