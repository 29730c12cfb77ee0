//! What is known after each epoch, and `metrics.jsonl`: one line of JSON per epoch.

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

/// The records of a run, in memory and, if it has a folder, in a file.
#[derive(Debug, Default)]
pub struct Metrics {
    records: Vec<EpochRecord>,
    path: Option<PathBuf>,
}

impl Metrics {
    /// Opens the file of a run that has done so many epochs, and drops any line beyond them: a
    /// run that was killed may have noted an epoch whose checkpoint it could not finish.
    pub fn open(path: &Path, epochs: usize) -> Result<Metrics, FileError> {
        let mut records = Metrics::read(path);
        records.retain(|record| record.epoch <= epochs);
        let text: String = records.iter().map(line).collect();
        write_atomically(path, |writer| writer.write_all(text.as_bytes()))?;
        Ok(Metrics {
            records,
            path: Some(path.to_owned()),
        })
    }

    /// The records, by epochs.
    pub fn records(&self) -> &[EpochRecord] {
        &self.records
    }

    /// The whole lines of a file; none if there is no file.
    pub fn read(path: &Path) -> Vec<EpochRecord> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Adds a record, and appends its line to the file, if there is one.
    pub fn append(&mut self, record: &EpochRecord) -> Result<(), FileError> {
        self.records.push(record.clone());
        let Some(path) = &self.path else {
            return Ok(());
        };
        let write = || {
            let mut file = OpenOptions::new().append(true).open(path)?;
            file.write_all(line(record).as_bytes())
        };
        write().map_err(|source| FileError {
            path: path.clone(),
            step: "appending a line",
            source,
        })
    }
}

fn line(record: &EpochRecord) -> String {
    let json = serde_json::to_string(record).expect("a record is plain data");
    json + "\n"
}
