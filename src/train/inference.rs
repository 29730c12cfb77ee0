//! A trained model in use: features of images, and images restored.

use std::sync::Arc;

use crate::buffer::{Element, Matrix, View};
use crate::data::Images;
use crate::device::{Backend, Device, DeviceError, HostData};
use crate::image::ImageShape;
use crate::kernels::gather::{Gather, Noise};
use crate::layers::Mode;
use crate::machine::memory_limit;
use crate::models::Autoencoder;
use crate::plan::{PlanBuilder, RoutineId};
use crate::recipe::Recipe;

use super::TrainError;
use super::checkpoint::Weights;
use super::program::evaluation_batch;

/// A model with trained weights on a device.
///
/// Images go through in blocks of one size. In evaluation rows are independent, so what an
/// incomplete block leaves over is ignored.
pub struct Inference {
    device: Box<dyn Device>,
    image: ImageShape,
    /// What the model sees, `[block, H·W·C]`.
    input: Matrix,
    encode: RoutineId,
    code: Matrix,
    restore: RoutineId,
    restored: Matrix,
    /// One routine for each kind of noise: bytes to `clean` and to `input`.
    corrupt: Vec<RoutineId>,
    bytes: View,
    clean: Matrix,
    clock: View,
}

/// Images before and after, each `[count · features]`, in [0, 1] but for the noise.
pub struct Restored {
    /// As they are.
    pub clean: Vec<f32>,
    /// As the model sees them.
    pub noisy: Vec<f32>,
    /// As it gives them back.
    pub restored: Vec<f32>,
}

impl Inference {
    /// Loads a model's weights. `noises` are those that [`corrupt`](Self::corrupt) can add.
    pub fn new(
        recipe: &Recipe,
        weights: &Weights,
        backend: &Backend,
        noises: &[Noise],
    ) -> Result<Self, TrainError> {
        let image = weights.image;
        let (block, features) = (evaluation_batch(image), image.features());
        let mut plan = PlanBuilder::new();
        let model = Autoencoder::new(&mut plan, &recipe.model.shape(image))?;
        let [input, clean] = ["input", "clean"].map(|name| {
            plan.persistent(name, Element::Real, block * features)
                .matrix(block, features)
        });
        let bytes = plan.persistent("images", Element::Byte, block * features);
        let order = plan.persistent("order", Element::Index, block);
        let clock = plan.persistent("clock", Element::Index, 2);

        let encode = plan.begin("encode");
        let (code, _) = model.encoder.forward(&mut plan, input, Mode::Evaluation);
        plan.keep(code.view);
        let restore = plan.begin("restore");
        let restored = model.reconstruct(&mut plan, input);
        plan.keep(restored.view);
        let corrupt = noises.iter().map(|&noise| {
            let routine = plan.begin("corrupt");
            let gather = Gather {
                images: bytes,
                order,
                clock,
                image,
                clean,
                noisy: input,
                noise,
            };
            plan.launch("gather", gather);
            routine
        });
        let corrupt = corrupt.collect();

        let plan = Arc::new(plan.finish(memory_limit())?);
        let mut device = backend.load(plan)?;
        weights.write(&model.parameters, device.as_mut())?;
        let identity: Vec<u32> = (0..block as u32).collect();
        device.write(order, HostData::Index(&identity))?;
        Ok(Inference {
            device,
            image,
            input,
            encode,
            code,
            restore,
            restored,
            corrupt,
            bytes,
            clean,
            clock,
        })
    }

    /// The shape of its images.
    pub fn image(&self) -> ImageShape {
        self.image
    }

    /// Width of the features.
    pub fn code_width(&self) -> usize {
        self.code.cols
    }

    /// Features `[count, code]` of images; `progress` hears how many are done.
    pub fn encode(
        &mut self,
        images: &Images,
        progress: impl FnMut(usize),
    ) -> Result<Vec<f32>, TrainError> {
        self.in_blocks(images, self.encode, self.code, progress)
    }

    /// The model's reconstructions `[count, H·W·C]`, in [0, 1], of images that are noisy already.
    pub fn denoise(
        &mut self,
        images: &Images,
        progress: impl FnMut(usize),
    ) -> Result<Vec<f32>, TrainError> {
        self.in_blocks(images, self.restore, self.restored, progress)
    }

    /// Runs `routine` on all images and collects the rows of `output`.
    fn in_blocks(
        &mut self,
        images: &Images,
        routine: RoutineId,
        output: Matrix,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<f32>, TrainError> {
        let Matrix { rows, cols, .. } = self.input;
        let mut collected = Vec::with_capacity(images.count * output.cols);
        let mut block = vec![0.0; rows * cols];
        for first in (0..images.count).step_by(rows) {
            let count = rows.min(images.count - first);
            for (i, row) in block.chunks_exact_mut(cols).take(count).enumerate() {
                images.row_f32(first + i, row)?;
            }
            self.device.write(self.input.view, HostData::Real(&block))?;
            self.device.run(routine, 1)?;
            let values = self.device.read_real(output.view)?;
            collected.extend_from_slice(&values[..count * output.cols]);
            progress(first + count);
        }
        Ok(collected)
    }

    /// Adds the `noise`th kind of noise to images and removes it again. They come back in blocks:
    /// `each` hears every block with the index of its first image.
    pub fn corrupt<E: From<TrainError>>(
        &mut self,
        noise: usize,
        images: &Images,
        mut each: impl FnMut(usize, Restored) -> Result<(), E>,
    ) -> Result<(), E> {
        let Matrix { rows, cols, .. } = self.input;
        let mut bytes = vec![0; rows * cols];
        for (index, first) in (0..images.count).step_by(rows).enumerate() {
            let block = first..images.count.min(first + rows);
            let len = block.len() * cols;
            let run = || -> Result<Restored, TrainError> {
                images.copy_bytes(block, &mut bytes[..len])?;
                let device = self.device.as_mut();
                device.write(self.bytes, HostData::Byte(&bytes))?;
                // Every block draws noise of its own.
                device.write(self.clock, HostData::Index(&[0, index as u32]))?;
                device.run(self.corrupt[noise], 1)?;
                device.run(self.restore, 1)?;
                let mut read = |matrix: Matrix| -> Result<Vec<f32>, DeviceError> {
                    let mut values = device.read_real(matrix.view)?;
                    values.truncate(len);
                    Ok(values)
                };
                Ok(Restored {
                    clean: read(self.clean)?,
                    noisy: read(self.input)?,
                    restored: read(self.restored)?,
                })
            };
            each(first, run()?)?;
        }
        Ok(())
    }
}
