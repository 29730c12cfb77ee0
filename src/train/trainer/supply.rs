//! What a step reads besides parameters: images, labels, their order, learning rates.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::data::Examples;
use crate::device::HostData;
use crate::train::windows::Windows;
use crate::train::{Progress, TrainError};

use super::Trainer;

/// The label of an image that has none.
pub(super) const UNLABELLED: u32 = u32::MAX;

/// The labels of these images.
pub(super) fn labels(examples: &Examples, images: impl Iterator<Item = usize>) -> Vec<u32> {
    let label = |image: usize| examples.labels.get(image).copied();
    images
        .map(|image| label(image).map_or(UNLABELLED, u32::from))
        .collect()
}

impl Trainer {
    /// Uploads the whole data set, if the device is to hold it.
    pub(super) fn load_all(&mut self) -> Result<(), TrainError> {
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
    pub(super) fn provide_images(&mut self) -> Result<(), TrainError> {
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

    /// Uploads this epoch's shuffle and learning rates, or begins to read its windows, and sets the
    /// clock.
    pub(super) fn prepare_epoch(&mut self) -> Result<(), TrainError> {
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
}
