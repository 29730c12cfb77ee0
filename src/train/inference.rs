//! A trained model in use: features of images, and pictures restored.

use std::sync::Arc;

use crate::data::Images;
use crate::device::{Backend, Device, DeviceError, HostData};
use crate::kernels::gather::Gather;
use crate::kernels::random::Stream;
use crate::layers::Mode;
use crate::models::Autoencoder;
use crate::plan::{Element, Matrix, PlanBuilder, RoutineId, View};
use crate::recipe::Recipe;

use super::TrainError;
use super::checkpoint::Weights;
use super::program::{model_shape, noise};

/// Images that are encoded at a time.
const BATCH: usize = 500;
/// Images that are restored at a time.
const PICTURES: usize = 10;

/// A model with trained weights on a device.
pub struct Inference {
    device: Box<dyn Device>,
    encode: RoutineId,
    input: Matrix,
    code: Matrix,
    restore: RoutineId,
    pictures: View,
    clean: Matrix,
    noisy: Matrix,
    restored: Matrix,
}

/// Pictures before and after, each `[count · features]` in [0, 1] but for the noise.
pub struct Restored {
    /// As they are.
    pub clean: Vec<f32>,
    /// As the model sees them.
    pub noisy: Vec<f32>,
    /// As it gives them back.
    pub restored: Vec<f32>,
}

impl Inference {
    /// Loads a model's weights, for images of so many values.
    pub fn new(
        recipe: &Recipe,
        features: usize,
        weights: &Weights,
        backend: &Backend,
    ) -> Result<Self, TrainError> {
        let mut plan = PlanBuilder::new();
        let model = Autoencoder::new(&mut plan, &model_shape(recipe, features));

        let input = plan
            .persistent("input", Element::Real, BATCH * features)
            .matrix(BATCH, features);
        let encode = plan.begin("encode");
        let (code, _) = model.encoder.forward(&mut plan, input, Mode::Evaluation);
        plan.keep(code.view);

        let pictures = plan.persistent("pictures", Element::Byte, PICTURES * features);
        let order = plan.persistent("pictures.order", Element::Index, PICTURES);
        let clock = plan.persistent("clock", Element::Index, 2);
        let [clean, noisy] = ["clean", "noisy"].map(|name| {
            plan.persistent(name, Element::Real, PICTURES * features)
                .matrix(PICTURES, features)
        });
        let restore = plan.begin("restore");
        plan.launch(
            "gather",
            Gather {
                images: pictures,
                order,
                clock,
                clean,
                noisy,
                noise: noise(recipe, Stream::Evaluation),
            },
        );
        let restored = model.reconstruct(&mut plan, noisy);
        plan.keep(restored.view);

        let plan = Arc::new(plan.finish(super::memory_limit())?);
        let mut device = backend.load(plan)?;
        weights.write(&model.parameters, device.as_mut())?;
        let identity: Vec<u32> = (0..PICTURES as u32).collect();
        device.write(order, HostData::Index(&identity))?;
        Ok(Inference {
            device,
            encode,
            input,
            code,
            restore,
            pictures,
            clean,
            noisy,
            restored,
        })
    }

    /// Width of the features.
    pub fn code_width(&self) -> usize {
        self.code.cols
    }

    /// Features `[count, code]` of clean images; `progress` hears how many are done.
    pub fn encode(
        &mut self,
        images: &Images,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<f32>, DeviceError> {
        let features = self.input.cols;
        let mut codes = Vec::with_capacity(images.count * self.code.cols);
        let mut block = vec![0.0; BATCH * features];
        for first in (0..images.count).step_by(BATCH) {
            let count = BATCH.min(images.count - first);
            for (i, row) in block.chunks_exact_mut(features).take(count).enumerate() {
                images.row_f32(first + i, row);
            }
            // Rows are independent in evaluation: what the last block leaves over is ignored.
            self.device.write(self.input.view, HostData::Real(&block))?;
            self.device.run(self.encode, 1)?;
            let code = self.device.read_real(self.code.view)?;
            codes.extend_from_slice(&code[..count * self.code.cols]);
            progress(first + count);
        }
        Ok(codes)
    }

    /// Adds the recipe's noise to at most ten images given as bytes, and removes it again.
    pub fn restore(&mut self, images: &[u8]) -> Result<Restored, DeviceError> {
        let mut pictures = vec![0; self.pictures.len];
        pictures[..images.len()].copy_from_slice(images);
        self.device
            .write(self.pictures, HostData::Byte(&pictures))?;
        self.device.run(self.restore, 1)?;
        let mut read = |matrix: Matrix| -> Result<Vec<f32>, DeviceError> {
            let mut values = self.device.read_real(matrix.view)?;
            values.truncate(images.len());
            Ok(values)
        };
        Ok(Restored {
            clean: read(self.clean)?,
            noisy: read(self.noisy)?,
            restored: read(self.restored)?,
        })
    }
}
