//! Observers that stop a training.

use diabolo::experiment::Watch;
use diabolo::train::{EpochRecord, Observer};

/// Stops after so many epochs, of whichever phase; with 0, at once.
pub struct StopAfter(pub usize);

impl Observer for StopAfter {
    fn epoch_finished(&mut self, _: &EpochRecord) {
        self.0 -= 1;
    }

    fn wants_to_stop(&mut self) -> bool {
        self.0 == 0
    }
}

impl Watch for StopAfter {}
