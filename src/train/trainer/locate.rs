//! Where a number went wrong.

use crate::train::{Progress, TrainError};

use super::Trainer;

impl Trainer {
    /// What this epoch's steps noted so far, all of it finite.
    pub(super) fn checked(&mut self) -> Result<Vec<Vec<f32>>, TrainError> {
        let noted = self.noted()?;
        let position = (0..self.progress.position).find_map(|position| {
            let mut values = noted.iter().map(|values| values[position]);
            let value = values.find(|value| !value.is_finite())?;
            Some((position, value))
        });
        match position {
            None => Ok(noted),
            Some((position, value)) => Err(self.locate(position, value)?),
        }
    }

    /// Finds the first value that is not finite: trains again from the last good state (the same
    /// bits come out) up to the bad step, and looks at every buffer after each of its launches.
    pub(super) fn locate(&mut self, position: usize, loss: f32) -> Result<TrainError, TrainError> {
        self.restore()?;
        let replayed = position - self.progress.position;
        self.run_steps(replayed)?;
        let error = |buffer: String, launch: String, progress: Progress| TrainError::NotFinite {
            loss,
            step: progress.step + 1,
            epoch: progress.epoch + 1,
            buffer,
            launch,
        };
        let plan = self.program.plan.clone();
        for (index, launch) in plan.launches(self.program.train).iter().enumerate() {
            self.device.run_launch(self.program.train, index)?;
            for view in plan.written_reals(launch) {
                let values = self.device.read_real(view)?;
                // Later values of a note are of the run that failed.
                let is_note = self.program.notes.iter().any(|note| note.values == view);
                let fresh = if is_note {
                    &values[position..=position]
                } else {
                    &values[..]
                };
                if fresh.iter().any(|value| !value.is_finite()) {
                    let launch = format!("`{}` ({})", launch.label, launch.kernel.name());
                    let buffer = plan.buffer(view).name.clone();
                    return Ok(error(buffer, launch, self.progress));
                }
            }
        }
        let launch = "no launch when the step was run again: the device is not deterministic";
        Ok(error(
            "train.notes".to_owned(),
            launch.to_owned(),
            self.progress,
        ))
    }
}
