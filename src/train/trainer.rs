//! The training loop.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::data::Images;
use crate::device::{Backend, Device, DeviceError, HostData};
use crate::kernels::adam::Hyperparameters;
use crate::machine::memory_limit;
use crate::plan::PlanBuilder;
use crate::recipe::Recipe;

use super::windows::{self, Windows};
use super::{Checkpoint, DataShape, EpochRecord, Metrics, Program, Progress, TrainError, Weights};

/// Steps given to the device at a time: between them the loop listens for an interrupt.
const STEPS_AT_A_TIME: usize = 16;
/// How often losses are read back while an epoch runs.
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
    train: Images,
    held_out: Images,
    /// Where the device stands.
    progress: Progress,
    /// Steps of this epoch whose images the device holds.
    loaded: Range<usize>,
    /// The images of the steps behind them; none if the device holds the whole data set.
    windows: Option<Windows>,
    /// Losses of this epoch's steps before the run was resumed, from the checkpoint.
    earlier_losses: Vec<f32>,
    /// What the device is put back to when a number goes wrong.
    last_good: Checkpoint,
}

impl Trainer {
    /// Loads images and a model, new or from a checkpoint, onto a device. If it cannot hold all
    /// training images, they come to it in windows, with the same results to the last bit.
    ///
    /// `train` and `held_out` must hold images of one size.
    pub fn new(
        recipe: &Recipe,
        train: &Images,
        held_out: &Images,
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
        train: &Images,
        held_out: &Images,
        backend: &Backend,
        checkpoint: Option<Checkpoint>,
        window: Option<usize>,
    ) -> Result<Trainer, TrainError> {
        let batch = recipe.train.batch;
        if batch > train.count {
            return Err(TrainError::BatchTooLarge {
                batch,
                images: train.count,
            });
        }
        let shape = DataShape {
            train: train.count,
            held_out: held_out.count,
            image: train.shape(),
        };
        let bytes = |images: usize| (images * train.features()) as u64;
        let all = bytes(train.count);
        let window = window.unwrap_or_else(|| {
            windows::window(
                train.count / batch,
                bytes(batch),
                all,
                backend.largest_buffer(),
            )
        });
        let program = Program::in_plan(plan, recipe, shape, window, memory_limit())?;
        let mut device = backend.load(program.plan.clone())?;
        let order: Vec<u32> = (0..program.held_out_order.len as u32).collect();
        device.write(program.held_out_order, HostData::Index(&order))?;
        let checkpoint = checkpoint.unwrap_or_else(|| {
            Checkpoint::initial(&program.parameters, train.shape(), recipe.train.seed)
        });
        let mut trainer = Trainer {
            recipe: recipe.clone(),
            device,
            train: train.clone(),
            held_out: held_out.clone(),
            progress: Progress::default(),
            loaded: 0..0,
            windows: None,
            program,
            earlier_losses: Vec::new(),
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
        let (count, features) = (self.train.count, self.train.features());
        let mut bytes = vec![0; count.min(IMAGES) * features];
        for first in (0..count).step_by(IMAGES) {
            let block = first..count.min(first + IMAGES);
            let bytes = &mut bytes[..block.len() * features];
            let view = self.program.images.part(first * features, bytes.len());
            self.train.copy_bytes(block, bytes)?;
            self.device.write(view, HostData::Byte(bytes))?;
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
                .write(self.program.images, HostData::Byte(&bytes))?;
            let window = self.program.window;
            let first = position / window * window;
            self.loaded = first..steps.min(first + window);
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
        let image = self.last_good.weights.image;
        Weights::read(&self.program.parameters, image, self.device.as_mut())
    }

    /// Puts the device back to the last good checkpoint and to its place in the epoch.
    fn restore(&mut self) -> Result<(), TrainError> {
        let device = self.device.as_mut();
        self.last_good.write(&self.program.parameters, device)?;
        self.progress = self.last_good.progress;
        self.earlier_losses = self.last_good.losses.clone();
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

        let mut order: Vec<u32> = (0..self.train.count as u32).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.recipe.train.seed);
        // Stream 0 drew the initial weights; every epoch has its own, whenever it runs.
        rng.set_stream(1 + epoch as u64);
        order.shuffle(&mut rng);
        order.truncate(program.order.len);
        if self.is_streamed() {
            let window = program.window * self.recipe.train.batch;
            let passed = position / program.window * window;
            let in_window: Vec<u32> = (0..order.len()).map(|i| (i % window) as u32).collect();
            order.drain(..passed);
            self.windows = Some(Windows::start(self.train.clone(), order, window)?);
            self.loaded = 0..0;
            order = in_window;
        }
        self.device.write(program.order, HostData::Index(&order))?;

        let hyper = Hyperparameters::default();
        let first = step - position as u64;
        let total = (self.recipe.train.epochs * program.steps) as u64;
        let schedule: Vec<f64> = (first..first + program.steps as u64)
            .flat_map(|done| hyper.schedule_row(done + 1, self.recipe.train.rate(done, total)))
            .collect();
        self.device
            .write(program.schedule, HostData::Double(&schedule))?;
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

    /// Losses of this epoch's steps so far.
    pub fn losses(&mut self) -> Result<Vec<f32>, DeviceError> {
        let done = self.progress.position;
        let mut losses = self.device.read_real(self.program.losses)?;
        losses.truncate(done);
        losses[..self.earlier_losses.len()].copy_from_slice(&self.earlier_losses);
        Ok(losses)
    }

    /// Mean loss of the held-out images, every one of them.
    pub fn held_out_loss(&mut self) -> Result<f64, TrainError> {
        let Program {
            held_out,
            clock,
            evaluation,
            ..
        } = &self.program;
        let features = self.held_out.features();
        let mut bytes = vec![0; held_out.len];
        let mut sum = 0.0;
        for pass in evaluation {
            for done in (0..pass.batches).step_by(pass.at_a_time) {
                let times = pass.at_a_time.min(pass.batches - done);
                let first = pass.first + done * pass.rows;
                let images = first..first + times * pass.rows;
                let block = &mut bytes[..images.len() * features];
                self.held_out.copy_bytes(images, block)?;
                self.device.write(*held_out, HostData::Byte(&bytes))?;
                // The step is part of the noise's counter: no two batches share their noise.
                let step = (first / pass.rows) as u32;
                self.device.write(*clock, HostData::Index(&[0, step]))?;
                self.device.run(pass.routine, times)?;
                let losses = self.device.read_real(pass.losses)?;
                for loss in &losses[..times] {
                    sum += f64::from(*loss) * pass.rows as f64;
                }
            }
        }
        Ok(sum / self.held_out.count as f64)
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
                let losses = self.checked_losses()?;
                self.save(checkpoint, losses)?;
                return Ok(Outcome::Interrupted(self.progress));
            }
            let losses = self.checked_losses()?;
            let seconds = began.elapsed().as_secs_f64();
            let images = (self.program.steps - first) * self.recipe.train.batch;
            let test_loss = self.held_out_loss()?;
            self.end_epoch();
            let record = EpochRecord {
                epoch: self.progress.epoch,
                step: self.progress.step,
                train_loss: mean(&losses),
                test_loss,
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
        self.earlier_losses.clear();
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
                let losses = self.checked_losses()?;
                observer.progressed(self.progress.position, mean(&losses));
                last_read = Instant::now();
            }
        }
        Ok(true)
    }

    /// The losses so far, all of them finite.
    fn checked_losses(&mut self) -> Result<Vec<f32>, TrainError> {
        let losses = self.losses()?;
        match losses.iter().position(|loss| !loss.is_finite()) {
            None => Ok(losses),
            Some(position) => Err(self.locate(position, losses[position])?),
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
                // Later entries of `losses` are of the run that failed.
                let fresh = match view == self.program.losses {
                    true => &values[position..=position],
                    false => &values[..],
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
            "train.losses".to_owned(),
            launch.to_owned(),
            self.progress,
        ))
    }

    /// Saves where training stands and remembers it as good.
    fn save(&mut self, path: &Path, losses: Vec<f32>) -> Result<(), TrainError> {
        let parameters = &self.program.parameters;
        let device = self.device.as_mut();
        let image = self.last_good.weights.image;
        self.last_good = Checkpoint::read(parameters, image, device, self.progress, losses)?;
        self.last_good.save(path, &self.recipe)?;
        Ok(())
    }
}

fn mean(losses: &[f32]) -> f64 {
    losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64
}
