//! The training loop.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::data::Examples;
use crate::device::{Backend, Device, DeviceError, HostData};
use crate::emit::Note;
use crate::machine::memory_limit;
use crate::models::Task;
use crate::plan::PlanBuilder;
use crate::recipe::Recipe;

use super::checkpoint::Stored;
use super::windows::{self, Windows};
use super::{
    Checkpoint, DataShape, EpochRecord, Metrics, NoteValues, Program, Progress, TrainError, Weights,
};

/// Steps given to the device at a time: between them the loop listens for an interrupt.
const STEPS_AT_A_TIME: usize = 16;
/// How often notes are read back while an epoch runs.
const READ_EVERY: Duration = Duration::from_millis(500);

/// Hears how training goes.
pub trait Observer {
    /// An epoch begins at step `position` of `steps`.
    fn epoch_started(&mut self, epoch: usize, position: usize, steps: usize);
    /// `position` steps of the epoch are done, at this mean loss so far.
    fn progressed(&mut self, position: usize, loss: f64);
    /// An epoch has ended.
    fn epoch_finished(&mut self, record: &EpochRecord);
}

/// Hears nothing.
pub struct Silent;

impl Observer for Silent {
    fn epoch_started(&mut self, _: usize, _: usize, _: usize) {}
    fn progressed(&mut self, _: usize, _: f64) {}
    fn epoch_finished(&mut self, _: &EpochRecord) {}
}

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
        checkpoint: Option<Checkpoint>,
    ) -> Result<Trainer, TrainError> {
        Trainer::in_plan(
            PlanBuilder::new(),
            recipe,
            train,
            held_out,
            backend,
            checkpoint,
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
        checkpoint: Option<Checkpoint>,
        window: Option<usize>,
    ) -> Result<Trainer, TrainError> {
        let (train, held_out) = (train.into(), held_out.into());
        let batch = recipe.train.batch;
        check(batch, &train, &held_out)?;
        let shape = DataShape {
            train: train.images.count,
            held_out: held_out.images.count,
            image: train.images.shape(),
            classes: train.classes,
        };
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
        let checkpoint = match checkpoint {
            Some(checkpoint) => checkpoint,
            None => Checkpoint::initial(first_weights(recipe, &program, shape.task())?, &program),
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

    /// Uploads the whole data set, if the device is to hold it.
    fn load_all(&mut self) -> Result<(), TrainError> {
        /// Images at a time: a multiple of four, because GPUs take bytes in words of four.
        const IMAGES: usize = 1 << 14;
        if self.is_streamed() {
            return Ok(());
        }
        let (count, features) = (self.train.images.count, self.train.images.features());
        let mut bytes = vec![0; count.min(IMAGES) * features];
        for first in (0..count).step_by(IMAGES) {
            let block = first..count.min(first + IMAGES);
            let bytes = &mut bytes[..block.len() * features];
            let images = self.program.training.values();
            let view = images.part(first * features, bytes.len());
            self.train.images.copy_bytes(block, bytes)?;
            self.device.write(view, HostData::Byte(bytes))?;
        }
        if let Some(view) = self.program.training.labels {
            let labels = labels(&self.train, 0..count);
            self.device.write(view, HostData::Index(&labels))?;
        }
        self.loaded = 0..self.program.steps;
        Ok(())
    }

    /// Whether training images come to the device in windows.
    pub fn is_streamed(&self) -> bool {
        self.program.window < self.program.steps
    }

    /// Brings the images of the next step to the device, with the rest of their window, unless they
    /// are there.
    fn provide_images(&mut self) -> Result<(), TrainError> {
        let (position, steps) = (self.progress.position, self.program.steps);
        if position == steps || self.loaded.contains(&position) {
            return Ok(());
        }
        if let Some(windows) = &mut self.windows {
            let bytes = windows.next()?;
            self.device
                .write(self.program.training.values(), HostData::Byte(&bytes))?;
            let window = self.program.window;
            let first = position / window * window;
            self.loaded = first..steps.min(first + window);
            if let Some(view) = self.program.training.labels {
                let batch = self.recipe.train.batch;
                let order = &self.order[self.loaded.start * batch..self.loaded.end * batch];
                let mut labels = labels(&self.train, order.iter().map(|&index| index as usize));
                labels.resize(view.len, UNLABELLED);
                self.device.write(view, HostData::Index(&labels))?;
            }
        }
        Ok(())
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

    /// Uploads this epoch's shuffle and learning rates, or begins to read its windows, and sets the
    /// clock.
    fn prepare_epoch(&mut self) -> Result<(), TrainError> {
        let Progress {
            epoch,
            position,
            step,
        } = self.progress;
        let program = &self.program;

        let mut order: Vec<u32> = (0..self.train.images.count as u32).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.recipe.train.seed);
        // Stream 0 drew the initial weights; every epoch has its own, whenever it runs.
        rng.set_stream(1 + epoch as u64);
        order.shuffle(&mut rng);
        order.truncate(program.training.order.len);
        if self.is_streamed() {
            let window = program.window * self.recipe.train.batch;
            let passed = position / program.window * window;
            let in_window: Vec<u32> = (0..order.len()).map(|i| (i % window) as u32).collect();
            if program.training.labels.is_some() {
                self.order.clone_from(&order);
            }
            order.drain(..passed);
            self.windows = Some(Windows::start(self.train.images.clone(), order, window)?);
            self.loaded = 0..0;
            order = in_window;
        }
        self.device
            .write(program.training.order, HostData::Index(&order))?;

        let first = step - position as u64;
        let total = (self.recipe.train.epochs * program.steps) as u64;
        for group in &program.groups {
            let rate = |done| self.recipe.train.rate(done, total);
            let row = |done| group.optimiser.schedule_row(done + 1, rate(done));
            let rows = first..first + program.steps as u64;
            let schedule: Vec<f64> = rows.flat_map(row).collect();
            self.device
                .write(group.schedule, HostData::Double(&schedule))?;
        }
        let clock = [position as u32, step as u32];
        self.device.write(program.clock, HostData::Index(&clock))?;
        self.provide_images()
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

    /// Trains until the recipe's epochs are done or `interrupt` is set, leaving a checkpoint at
    /// `checkpoint` and a line in `metrics` after each epoch.
    pub fn run(
        &mut self,
        checkpoint: &Path,
        metrics: &mut Metrics,
        observer: &mut dyn Observer,
        interrupt: &AtomicBool,
    ) -> Result<Outcome, TrainError> {
        while self.progress.epoch < self.recipe.train.epochs {
            let began = Instant::now();
            let first = self.progress.position;
            observer.epoch_started(self.progress.epoch + 1, first, self.program.steps);
            if !self.run_epoch(observer, interrupt)? {
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

    /// Runs the rest of an epoch. False if interrupted.
    fn run_epoch(
        &mut self,
        observer: &mut dyn Observer,
        interrupt: &AtomicBool,
    ) -> Result<bool, TrainError> {
        let mut last_read = Instant::now();
        while self.progress.position < self.program.steps {
            if interrupt.load(Ordering::Relaxed) {
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

    fn note_values(&self, noted: &[Vec<f32>], measured: &[f64]) -> NoteValues {
        let mut values = NoteValues::default();
        for (index, note) in self.program.notes.iter().enumerate() {
            let name = || note.name.clone();
            values.train.insert(name(), mean(&noted[index]));
            values.held_out.insert(name(), measured[index]);
            values.units.insert(name(), note.unit);
        }
        values
    }

    /// What this epoch's steps noted so far, all of it finite.
    fn checked(&mut self) -> Result<Vec<Vec<f32>>, TrainError> {
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
    fn locate(&mut self, position: usize, loss: f32) -> Result<TrainError, TrainError> {
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

    /// Saves where training stands and remembers it as good.
    fn save(&mut self, path: &Path, noted: Vec<Vec<f32>>) -> Result<(), TrainError> {
        self.last_good = self.checkpoint_with(noted)?;
        self.last_good.save(path, &self.recipe)?;
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

/// The label of an image that has none.
const UNLABELLED: u32 = u32::MAX;

/// The labels of these images.
fn labels(examples: &Examples, images: impl Iterator<Item = usize>) -> Vec<u32> {
    let label = |image: usize| examples.labels.get(image).copied();
    images
        .map(|image| label(image).map_or(UNLABELLED, u32::from))
        .collect()
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

/// The values that a program's model begins with: drawn by the seed, and for a classifier with a trained
/// encoder those of that encoder.
fn first_weights(recipe: &Recipe, program: &Program, task: Task) -> Result<Weights, TrainError> {
    let mut weights = Weights::initial(&program.tensors, task, recipe.train.seed);
    if let Some((path, prefix)) = recipe.model.begins_with() {
        let (trained, _) = Weights::load(path)?;
        weights.take_over(&trained, prefix).map_err(|reason| {
            let path = path.display();
            TrainError::OtherModel(format!("{path}, which `model.weights` names: {reason}"))
        })?;
    }
    Ok(weights)
}

/// The notes' sum, by their weights.
fn weighted(notes: &[Note], values: impl IntoIterator<Item = f64>) -> f64 {
    let weighted = notes
        .iter()
        .zip(values)
        .filter(|(note, _)| note.weight != 0.0);
    weighted.map(|(note, value)| note.weight * value).sum()
}

/// Each step's loss.
fn losses(notes: &[Note], noted: &[Vec<f32>]) -> Vec<f32> {
    let steps = noted.first().map_or(0, Vec::len);
    let step = |step: usize| noted.iter().map(move |values| f64::from(values[step]));
    (0..steps)
        .map(|s| weighted(notes, step(s)) as f32)
        .collect()
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64
}
