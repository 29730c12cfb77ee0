//! What steps note: of the training images while they are trained on, of the held-out ones when asked.

use crate::device::{DeviceError, HostData};
use crate::emit::Note;
use crate::train::{NoteValues, Program, TrainError};

use super::Trainer;
use super::supply::{UNLABELLED, labels};

impl Trainer {
    /// What this epoch's steps noted so far, one list for each of the program's notes.
    pub fn noted(&mut self) -> Result<Vec<Vec<f32>>, DeviceError> {
        let done = self.progress.position;
        let notes = self.program.notes.iter();
        let read = |note: &Note| self.device.read_real(note.values.part(0, done));
        notes.map(read).collect()
    }

    /// Losses of this epoch's steps so far: the notes' sum, by their weights.
    pub fn losses(&mut self) -> Result<Vec<f32>, DeviceError> {
        let noted = self.noted()?;
        Ok(losses(&self.program.notes, &noted))
    }

    /// Means of what the held-out images' steps note, every image counted: one for each of the
    /// program's notes.
    pub fn measure(&mut self) -> Result<Vec<f64>, TrainError> {
        let Program {
            held_out,
            clock,
            evaluation,
            notes,
            ..
        } = &self.program;
        let features = self.held_out.images.features();
        let mut bytes = vec![0; held_out.values().len];
        let mut sums = vec![0.0; notes.len()];
        for pass in evaluation {
            for done in (0..pass.batches).step_by(pass.at_a_time) {
                let times = pass.at_a_time.min(pass.batches - done);
                let first = pass.first + done * pass.rows;
                let rows = first..first + times * pass.rows;
                let block = &mut bytes[..rows.len() * features];
                self.held_out.images.copy_bytes(rows.clone(), block)?;
                self.device
                    .write(held_out.values(), HostData::Byte(&bytes))?;
                if let Some(view) = held_out.labels {
                    let mut labels = labels(&self.held_out, rows);
                    labels.resize(view.len, UNLABELLED);
                    self.device.write(view, HostData::Index(&labels))?;
                }
                // The step is part of the noise's counter: no two batches share their noise.
                let step = (first / pass.rows) as u32;
                self.device.write(*clock, HostData::Index(&[0, step]))?;
                self.device.run(pass.routine, times)?;
                for (sum, note) in sums.iter_mut().zip(&pass.notes) {
                    for value in &self.device.read_real(note.values.part(0, times))? {
                        *sum += f64::from(*value) * pass.rows as f64;
                    }
                }
            }
        }
        let count = self.held_out.images.count as f64;
        Ok(sums.into_iter().map(|sum| sum / count).collect())
    }

    /// Mean loss of the held-out images: the notes' sum, by their weights.
    pub fn held_out_loss(&mut self) -> Result<f64, TrainError> {
        let measured = self.measure()?;
        Ok(weighted(&self.program.notes, measured))
    }

    pub(super) fn note_values(&self, noted: &[Vec<f32>], measured: &[f64]) -> NoteValues {
        let mut values = NoteValues::default();
        for (index, note) in self.program.notes.iter().enumerate() {
            let name = || note.name.clone();
            values.train.insert(name(), mean(&noted[index]));
            values.held_out.insert(name(), measured[index]);
            values.units.insert(name(), note.unit);
        }
        values
    }
}

/// The notes' sum, by their weights.
pub(super) fn weighted(notes: &[Note], values: impl IntoIterator<Item = f64>) -> f64 {
    let weighted = notes
        .iter()
        .zip(values)
        .filter(|(note, _)| note.weight != 0.0);
    weighted.map(|(note, value)| note.weight * value).sum()
}

/// Each step's loss.
pub(super) fn losses(notes: &[Note], noted: &[Vec<f32>]) -> Vec<f32> {
    let steps = noted.first().map_or(0, Vec::len);
    let step = |step: usize| noted.iter().map(move |values| f64::from(values[step]));
    (0..steps)
        .map(|s| weighted(notes, step(s)) as f32)
        .collect()
}

pub(super) fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64
}
