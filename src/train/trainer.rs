//! The training loop.

mod locate;
mod measure;
mod supply;

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::data::Examples;
use crate::device::{Backend, Device, DeviceError, HostData};
use crate::machine::memory_limit;
use crate::plan::PlanBuilder;
use crate::recipe::Recipe;

use measure::{losses, mean, weighted};

use super::begin::{Begin, first_weights};
use super::checkpoint::Stored;
use super::windows::{self, Windows};
use super::{Checkpoint, DataShape, EpochRecord, Metrics, Program, Progress, TrainError, Weights};

/// Steps given to the device at a time: between them the loop listens for an interrupt.
const STEPS_AT_A_TIME: usize = 16;
/// How often notes are read back while an epoch runs.
const READ_EVERY: Duration = Duration::from_millis(500);

/// Hears how training goes, and may stop it.
pub trait Observer {
    /// An epoch begins at step `position` of `steps`.
    fn epoch_started(&mut self, _epoch: usize, _position: usize, _steps: usize) {}
    /// `position` steps of the epoch are done, at this mean loss so far.
    fn progressed(&mut self, _position: usize, _loss: f64) {}
    /// An epoch has ended.
    fn epoch_finished(&mut self, _record: &EpochRecord) {}
    /// Asked again and again: whether the work is to be saved and stopped.
    fn wants_to_stop(&mut self) -> bool {
        false
    }
}

/// Hears nothing and stops nothing.
pub struct Silent;

impl Observer for Silent {}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// Interrupted; the checkpoint holds everything up to here.
    Interrupted(Progress),
}

/// A model in training on a device.
pub struct Trainer {
    recipe: Recipe,
    program: Program,
    device: Box<dyn Device>,
    train: Examples,
    held_out: Examples,
    /// Where the device stands.
    progress: Progress,
    /// Steps of this epoch whose images the device holds.
    loaded: Range<usize>,
    /// The images of the steps behind them; none if the device holds the whole data set.
    windows: Option<Windows>,
    /// Training images in this epoch's order; empty unless they come in windows and have labels.
    order: Vec<u32>,
    /// What the device is put back to when a number goes wrong.
    last_good: Checkpoint,
}

impl Trainer {
    /// Loads images and a model, new or from a checkpoint, onto a device. If it cannot hold all
    /// training images, they come to it in windows, with the same results to the last bit.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if images, labels, batch or checkpoint do not fit the recipe's model, or if the
    /// device has too little memory.
    pub fn new(
        recipe: &Recipe,
        train: impl Into<Examples>,
        held_out: impl Into<Examples>,
        backend: &Backend,
        begin: impl Into<Begin>,
    ) -> Result<Trainer, TrainError> {
        Trainer::in_plan(
            PlanBuilder::new(),
            recipe,
            train,
            held_out,
            backend,
            begin,
            None,
        )
    }

    /// The same in a plan of a particular kind, a [guarded](PlanBuilder::guarded) one, say, with the
    /// images of `window` steps at a time on the device; as many as fit if none is given.
    pub fn in_plan(
        plan: PlanBuilder,
        recipe: &Recipe,
        train: impl Into<Examples>,
        held_out: impl Into<Examples>,
        backend: &Backend,
        begin: impl Into<Begin>,
        window: Option<usize>,
    ) -> Result<Trainer, TrainError> {
        let begin = begin.into();
        let (train, held_out) = (train.into(), held_out.into());
        let batch = recipe.train.batch;
        check(batch, &train, &held_out)?;
        let shape = DataShape::of(&train, &held_out);
        let bytes = |images: usize| (images * train.images.features()) as u64;
        let all = bytes(train.images.count);
        let window = window.unwrap_or_else(|| {
            windows::window(
                train.images.count / batch,
                bytes(batch),
                all,
                backend.largest_buffer(),
            )
        });
        let program = Program::in_plan(plan, recipe, shape, window, memory_limit())?;
        let mut device = backend.load(program.plan.clone())?;
        let order: Vec<u32> = (0..program.held_out.order.len as u32).collect();
        device.write(program.held_out.order, HostData::Index(&order))?;
        let initial = |trained| -> Result<Checkpoint, TrainError> {
            let weights = first_weights(recipe, &program, shape.task(), trained)?;
            Ok(Checkpoint::initial(weights, &program))
        };
        let checkpoint = match begin {
            Begin::New => initial(None)?,
            Begin::With(trained) => initial(Some(*trained))?,
            Begin::Checkpoint(checkpoint) => checkpoint,
        };
        if let Some(misfit) = checkpoint.misfit(&program) {
            return Err(TrainError::OtherModel(misfit));
        }
        let mut trainer = Trainer {
            recipe: recipe.clone(),
            device,
            train,
            held_out,
            progress: Progress::default(),
            loaded: 0..0,
            windows: None,
            program,
            order: Vec::new(),
            last_good: checkpoint,
        };
        trainer.load_all()?;
        trainer.restore()?;
        Ok(trainer)
    }

    /// Where training stands.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Steps per epoch.
    pub fn steps(&self) -> usize {
        self.program.steps
    }

    /// The device.
    pub fn device(&mut self) -> &mut dyn Device {
        self.device.as_mut()
    }

    /// The program it runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The model as it is now.
    pub fn weights(&mut self) -> Result<Weights, DeviceError> {
        let task = self.last_good.weights.task();
        Weights::read(&self.program.tensors, task, self.device.as_mut())
    }

    /// Puts the device back to the last good checkpoint and to its place in the epoch.
    fn restore(&mut self) -> Result<(), TrainError> {
        let device = self.device.as_mut();
        self.last_good.write(&self.program, device)?;
        self.progress = self.last_good.progress;
        // What the epoch's steps noted before the run was resumed.
        for note in &self.program.notes {
            let earlier = self.last_good.note(&note.name);
            let earlier = &earlier[..earlier.len().min(note.values.len)];
            let view = note.values.part(0, earlier.len());
            device.write(view, HostData::Real(earlier))?;
        }
        self.prepare_epoch()
    }

    /// Runs `count` steps of this epoch.
    pub fn run_steps(&mut self, count: usize) -> Result<(), TrainError> {
        let last = self.progress.position + count;
        assert!(last <= self.program.steps);
        while self.progress.position < last {
            let now = last.min(self.loaded.end) - self.progress.position;
            self.device.run(self.program.train, now)?;
            self.progress.position += now;
            self.progress.step += now as u64;
            self.provide_images()?;
        }
        Ok(())
    }

    /// Trains until the recipe's epochs are done or `observer` wants to stop. After each epoch, and when
    /// it stops, it saves a checkpoint, if it is given a file to save to, and adds to `metrics`.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if a loss is not finite, images cannot be read, a file cannot be written, or the
    /// device fails.
    pub fn run(
        &mut self,
        checkpoint: Option<&Path>,
        metrics: &mut Metrics,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, TrainError> {
        while self.progress.epoch < self.recipe.train.epochs {
            let began = Instant::now();
            let first = self.progress.position;
            observer.epoch_started(self.progress.epoch + 1, first, self.program.steps);
            if !self.run_epoch(observer)? {
                let noted = self.checked()?;
                self.save(checkpoint, noted)?;
                return Ok(Outcome::Interrupted(self.progress));
            }
            let noted = self.checked()?;
            let seconds = began.elapsed().as_secs_f64();
            let images = (self.program.steps - first) * self.recipe.train.batch;
            let measured = self.measure()?;
            self.end_epoch();
            let train_loss = mean(&losses(&self.program.notes, &noted));
            let record = EpochRecord {
                epoch: self.progress.epoch,
                step: self.progress.step,
                train_loss,
                test_loss: weighted(&self.program.notes, measured.clone()),
                notes: self.note_values(&noted, &measured),
                images_per_second: images as f64 / seconds,
                seconds,
            };
            metrics.append(&record)?;
            self.save(checkpoint, Vec::new())?;
            observer.epoch_finished(&record);
            self.prepare_epoch()?;
        }
        Ok(Outcome::Finished)
    }

    fn end_epoch(&mut self) {
        self.progress.epoch += 1;
        self.progress.position = 0;
    }

    /// Goes on to the next epoch once all steps of one were run by hand.
    pub fn next_epoch(&mut self) -> Result<(), TrainError> {
        self.end_epoch();
        self.prepare_epoch()
    }

    /// Runs the rest of an epoch. False if it was stopped.
    fn run_epoch(&mut self, observer: &mut dyn Observer) -> Result<bool, TrainError> {
        let mut last_read = Instant::now();
        while self.progress.position < self.program.steps {
            if observer.wants_to_stop() {
                return Ok(false);
            }
            let left = self.program.steps - self.progress.position;
            self.run_steps(left.min(STEPS_AT_A_TIME))?;
            if last_read.elapsed() >= READ_EVERY {
                let noted = self.checked()?;
                let loss = mean(&losses(&self.program.notes, &noted));
                observer.progressed(self.progress.position, loss);
                last_read = Instant::now();
            }
        }
        Ok(true)
    }

    /// Remembers where training stands as good, and saves it if there is a file to save to.
    fn save(&mut self, path: Option<&Path>, noted: Vec<Vec<f32>>) -> Result<(), TrainError> {
        self.last_good = self.checkpoint_with(noted)?;
        if let Some(path) = path {
            self.last_good.save(path, &self.recipe)?;
        }
        Ok(())
    }

    /// Everything that another trainer needs to go on from here.
    pub fn checkpoint(&mut self) -> Result<Checkpoint, DeviceError> {
        let noted = self.noted()?;
        self.checkpoint_with(noted)
    }

    fn checkpoint_with(&mut self, noted: Vec<Vec<f32>>) -> Result<Checkpoint, DeviceError> {
        let notes = self.program.notes.iter().zip(noted);
        let notes = notes.map(|(note, values)| Stored {
            name: note.name.clone(),
            shape: vec![values.len()],
            values,
        });
        let (task, device) = (self.last_good.weights.task(), self.device.as_mut());
        Checkpoint::read(&self.program, task, device, self.progress, notes.collect())
    }
}

/// Errors unless images, labels and batch belong together.
fn check(batch: usize, train: &Examples, held_out: &Examples) -> Result<(), TrainError> {
    let images = train.images.count;
    if batch == 0 || batch > images {
        return Err(TrainError::BatchTooLarge { batch, images });
    }
    let [of_train, of_held_out] = [train, held_out].map(|examples| examples.images.shape());
    if of_train != of_held_out {
        return Err(TrainError::Shapes {
            train: of_train,
            held_out: of_held_out,
        });
    }
    for examples in [train, held_out] {
        let (labels, images) = (examples.labels.len(), examples.images.count);
        if labels != 0 && labels != images {
            return Err(TrainError::Labels { labels, images });
        }
    }
    Ok(())
}
