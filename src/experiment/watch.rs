//! Who watches an experiment.

use crate::progress::{Interrupted, Tick};
use crate::train::{Observer, Silent};

/// What an experiment is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its data set is being read.
    Reading,
    /// It trains, from step `step` on.
    Training {
        /// Epochs in all.
        epochs: usize,
        /// Steps of an epoch.
        steps: usize,
        /// Images of a step.
        batch: usize,
        /// Steps that are done already.
        step: u64,
    },
    /// It turns images into features.
    Encoding,
    /// It restores noisy images and measures how well.
    Denoising,
    /// Judges classify from few labels.
    Judging,
}

impl Stage {
    /// Its name: “training”.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Reading => "reading",
            Stage::Training { .. } => "training",
            Stage::Encoding => "encoding",
            Stage::Denoising => "denoising",
            Stage::Judging => "judging",
        }
    }
}

/// Hears what an experiment does, and may stop it in every stage.
pub trait Watch: Observer {
    /// A line about what was found or planned.
    fn says(&mut self, _line: &str) {}
    /// A stage begins.
    fn stage(&mut self, _stage: Stage) {}
    /// So much of the stage is done, from 0 to 1. Training reports to the [`Observer`] instead.
    fn progress(&mut self, _done: f64) {}
    /// The stage has ended.
    fn stage_finished(&mut self) {}
}

impl Watch for Silent {}

/// Runs one stage, which is given a tick to report and to be stopped by.
pub fn staged<T>(watch: &mut dyn Watch, stage: Stage, work: impl FnOnce(&mut Tick<'_>) -> T) -> T {
    watch.stage(stage);
    let result = work(&mut |done| {
        watch.progress(done);
        if watch.wants_to_stop() {
            Err(Interrupted)
        } else {
            Ok(())
        }
    });
    watch.stage_finished();
    result
}
