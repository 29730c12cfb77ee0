//! A trained model in use: features of images, and images restored.

use std::sync::Arc;

use crate::buffer::{Element, Matrix, View};
use crate::data::Images;
use crate::device::{Backend, Device, DeviceError, HostData};
use crate::emit::Mode;
use crate::image::ImageShape;
use crate::kernels::gather::{Gather, Noise};
use crate::machine::memory_limit;
use crate::models::Use;
use crate::plan::{Pass, PlanBuilder, RoutineId};
use crate::progress::Tick;
use crate::recipe::Recipe;

use super::TrainError;
use super::checkpoint::Weights;
use super::declare::{Declared, tensors};
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
    kind: &'static str,
    /// The names of its uses.
    uses: &'static [Use],
    ways: Vec<Way>,
    /// One routine for each kind of noise: bytes to `clean` and to `input`.
    corrupt: Vec<RoutineId>,
    bytes: View,
    clean: Matrix,
    clock: View,
}

/// A use of the model as a routine.
#[derive(Clone, Copy)]
struct Way {
    which: Use,
    routine: RoutineId,
    /// `[block, columns]`
    input: Matrix,
    /// `[block, columns]`
    output: Matrix,
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
        let declared = Declared::new(PlanBuilder::new(), recipe, weights.task(), 1)?;
        let Declared {
            mut emission,
            model,
        } = declared;
        let tensors = tensors(model.as_ref());
        if let Some(misfit) = weights.misfit(&tensors) {
            return Err(TrainError::OtherModel(misfit));
        }
        let plan = &mut emission.plan;
        let [input, clean] = ["input", "clean"].map(|name| {
            plan.persistent(name, Element::Real, block * features)
                .matrix(block, features)
        });
        let bytes = plan.persistent("images", Element::Byte, block * features);
        let order = plan.persistent("order", Element::Index, block);
        let clock = plan.persistent("clock", Element::Index, 2);

        let mut ways = Vec::new();
        for &which in model.uses() {
            let width = model.input_width(which);
            let input = if width == features {
                input
            } else {
                let name = format!("{}.input", which.name());
                let view = emission.plan.persistent(name, Element::Real, block * width);
                view.matrix(block, width)
            };
            let mut e = emission.begin(which.name(), Mode::Evaluation);
            let output = model.emit_use(&mut e, which, input);
            e.keep(output.view);
            ways.push(Way {
                which,
                routine: e.end().routine,
                input,
                output,
            });
        }
        let corrupt = noises.iter().map(|&noise| {
            let mut e = emission.begin("corrupt", Mode::Evaluation);
            let gather = Gather {
                images: bytes,
                order,
                clock,
                image,
                clean,
                noisy: input,
                noise,
            };
            e.at("gather", Pass::Input).launch("", gather);
            e.end().routine
        });
        let corrupt = corrupt.collect();

        let plan = Arc::new(emission.plan.finish(memory_limit())?);
        let mut device = backend.load(plan)?;
        weights.write(&tensors, device.as_mut())?;
        let identity: Vec<u32> = (0..block as u32).collect();
        device.write(order, HostData::Index(&identity))?;
        Ok(Inference {
            device,
            image,
            input,
            kind: recipe.model.kind(),
            uses: model.uses(),
            ways,
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

    /// What the model can do.
    pub fn uses(&self) -> &'static [Use] {
        self.uses
    }

    fn way(&self, which: Use) -> Result<Way, TrainError> {
        let found = self.ways.iter().find(|way| way.which == which);
        found.copied().ok_or(TrainError::NoSuchUse {
            kind: self.kind,
            which,
            uses: self.uses,
        })
    }

    /// Columns of what a use gives.
    ///
    /// # Errors
    ///
    /// [`TrainError::NoSuchUse`] if the model has no such use.
    pub fn width(&self, which: Use) -> Result<usize, TrainError> {
        Ok(self.way(which)?.output.cols)
    }

    /// A use's outputs, `[count, columns]`, for images as they are.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the model has no such use of images of this size, images cannot be read, or `tick`
    /// stops the work.
    pub fn apply(
        &mut self,
        which: Use,
        images: &Images,
        tick: &mut Tick<'_>,
    ) -> Result<Vec<f32>, TrainError> {
        self.check(images)?;
        let way = self.way(which)?;
        let mut collected = Vec::with_capacity(images.count * way.output.cols);
        let Matrix { rows, cols, .. } = self.input;
        let mut block = vec![0.0; rows * cols];
        for first in (0..images.count).step_by(rows) {
            let count = rows.min(images.count - first);
            for (i, row) in block.chunks_exact_mut(cols).take(count).enumerate() {
                images.row_f32(first + i, row)?;
            }
            let values = self.block(way, &block)?;
            collected.extend_from_slice(&values[..count * way.output.cols]);
            tick((first + count) as f64 / images.count as f64)?;
        }
        Ok(collected)
    }

    /// Images `[count, H·W·C]`, in [0, 1], from codes `[count, code]`: standard normal numbers, say.
    ///
    /// # Errors
    ///
    /// [`TrainError::NoSuchUse`] if the model cannot sample.
    pub fn sample(&mut self, codes: &[f32]) -> Result<Vec<f32>, TrainError> {
        let way = self.way(Use::Sample)?;
        let mut collected = Vec::new();
        for codes in codes.chunks(way.input.view.len) {
            let mut block = codes.to_vec();
            block.resize(way.input.view.len, 0.0);
            let values = self.block(way, &block)?;
            let count = codes.len() / way.input.cols;
            collected.extend_from_slice(&values[..count * way.output.cols]);
        }
        Ok(collected)
    }

    /// Runs one block through a way.
    fn block(&mut self, way: Way, input: &[f32]) -> Result<Vec<f32>, DeviceError> {
        self.device.write(way.input.view, HostData::Real(input))?;
        self.device.run(way.routine, 1)?;
        self.device.read_real(way.output.view)
    }

    fn check(&self, images: &Images) -> Result<(), TrainError> {
        let (model, given) = (self.image, images.shape());
        if model == given {
            Ok(())
        } else {
            Err(TrainError::OtherImages { model, given })
        }
    }

    /// Adds the `noise`th kind of noise to images and removes it again. They come back in blocks:
    /// `each` hears every block with the index of its first image.
    pub fn corrupt<E: From<TrainError>>(
        &mut self,
        noise: usize,
        images: &Images,
        mut each: impl FnMut(usize, Restored) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check(images)?;
        let restore = self.way(Use::Restore)?;
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
                device.run(restore.routine, 1)?;
                let mut read = |matrix: Matrix| -> Result<Vec<f32>, DeviceError> {
                    let mut values = device.read_real(matrix.view)?;
                    values.truncate(len);
                    Ok(values)
                };
                Ok(Restored {
                    clean: read(self.clean)?,
                    noisy: read(self.input)?,
                    restored: read(restore.output)?,
                })
            };
            each(first, run()?)?;
        }
        Ok(())
    }
}
