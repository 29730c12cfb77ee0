//! What a trained model is good for: its features, its restored images, and what judges say.

use crate::Error;
use crate::data::{Dataset, npy};
use crate::device::Backend;
use crate::evaluate::{
    BASELINE, Denoising, Features, Judge, Knn, Labels, Measurement, Representation, Rows,
    denoising, few_label, normalise,
};
use crate::kernels::gather::Noise;
use crate::kernels::random::Streams;
use crate::kernels::warp::Warp;
use crate::models::Use;
use crate::progress::part;
use crate::recipe::Recipe;
use crate::report::{RunFolder, write_reconstructions};
use crate::train::{Inference, Weights, noise};

use super::watch::staged;
use super::{Stage, Watch, origin};

/// The name of the representation that a model learns.
const FEATURES: &str = "features";

/// A trained model and the images to evaluate it on.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What it was trained by, and how it is to be judged.
    pub recipe: &'a Recipe,
    /// The model.
    pub weights: &'a Weights,
    /// The images.
    pub data: &'a Dataset,
    /// Where to compute.
    pub backend: &'a Backend,
}

/// What an evaluation came to.
#[derive(Debug, Default)]
pub(super) struct Evaluation {
    pub(super) features: Option<[Features; 2]>,
    pub(super) measurements: Vec<Measurement>,
    pub(super) denoising: Vec<Denoising>,
}

impl Subject<'_> {
    /// Encodes, restores and judges, and writes features and pictures if there is a folder.
    pub(super) fn evaluate(
        &self,
        folder: Option<&RunFolder>,
        watch: &mut dyn Watch,
    ) -> Result<Evaluation, Error> {
        let recipe = self.recipe;
        let noises = [vec![noise(recipe, Streams::EVALUATION)], levels(recipe)].concat();
        let mut inference = Inference::new(recipe, self.weights, self.backend, &noises)?;
        let features = self.encode_by(&mut inference, watch)?;
        if let Some(folder) = folder {
            folder.make_features()?;
            for (part, features) in ["train", "test"].into_iter().zip(&features) {
                let path = folder.features(part);
                npy::write_matrix(&path, features.count(), features.width, &features.values)?;
            }
        }
        let mut restored = Vec::new();
        if inference.uses().contains(&Use::Restore) {
            if let Some(folder) = folder {
                let (images, labels) = (&self.data.test, &self.data.test_labels);
                write_reconstructions(&folder.reconstructions(), images, labels, &mut inference)?;
            }
            let levels: Vec<(usize, f32)> = (1..)
                .zip(noises[1..].iter().map(|noise| noise.gaussian))
                .collect();
            restored = staged(watch, Stage::Denoising, |tick| {
                denoising(&mut inference, &levels, &self.data.test, tick)
            })?;
        }
        drop(inference);
        let mut measurements = self.judge(&features, watch)?;
        let origin = origin(recipe);
        let of_denoising = restored.iter().flat_map(|row| row.measurements(&origin));
        measurements.extend(of_denoising);
        Ok(Evaluation {
            features: Some(features),
            measurements,
            denoising: restored,
        })
    }

    /// Finds out whether there are as many labels as the recipe's judges are to see.
    ///
    /// # Errors
    ///
    /// [`Error`] if there are not.
    pub fn check(&self) -> Result<(), Error> {
        super::few_label(self.recipe).groups(Labels::from(self.data))?;
        Ok(())
    }

    /// Features of the training and of the test images, as the model gives them.
    ///
    /// # Errors
    ///
    /// [`Error`] if the weights are of another model than the recipe's, images cannot be read, the
    /// device fails, or `watch` stops the work.
    pub fn encode(&self, watch: &mut dyn Watch) -> Result<[Features; 2], Error> {
        let mut inference = Inference::new(self.recipe, self.weights, self.backend, &[])?;
        self.encode_by(&mut inference, watch)
    }

    fn encode_by(
        &self,
        inference: &mut Inference,
        watch: &mut dyn Watch,
    ) -> Result<[Features; 2], Error> {
        let Dataset { train, test, .. } = self.data;
        let width = inference.width(Use::Encode)?;
        let share = train.count as f64 / (train.count + test.count) as f64;
        staged(watch, Stage::Encoding, |tick| {
            let mut encode = |images, from, to| -> Result<Features, Error> {
                let values = inference.apply(Use::Encode, images, &mut part(tick, from, to))?;
                Ok(Features { width, values })
            };
            Ok([encode(train, 0.0, share)?, encode(test, share, 1.0)?])
        })
    }

    /// What the recipe's judges say of pixels and of features, which are normalised first as the recipe
    /// says.
    ///
    /// # Errors
    ///
    /// [`Error`] if there are not as many labels as would be drawn, the device fails, or `watch` stops the
    /// work.
    pub fn judge(
        &self,
        features: &[Features; 2],
        watch: &mut dyn Watch,
    ) -> Result<Vec<Measurement>, Error> {
        let [mut train, mut test] = features.clone();
        normalise(self.recipe.evaluate.normalise, &mut train, &mut test);
        let representations = [
            Representation {
                name: BASELINE,
                train: &self.data.train,
                test: &self.data.test,
            },
            Representation {
                name: FEATURES,
                train: &train,
                test: &test,
            },
        ];
        let judges: [&dyn Judge; 1] = [&Knn];
        let measured = staged(watch, Stage::Judging, |tick| {
            few_label(
                self.backend,
                &judges,
                &representations,
                Labels::from(self.data),
                &super::few_label(self.recipe),
                &origin(self.recipe),
                tick,
            )
        })?;
        Ok(measured)
    }
}

/// Gaussian noise alone, at each level at which denoising is measured.
fn levels(recipe: &Recipe) -> Vec<Noise> {
    let levels = recipe.evaluate.noise_levels.iter();
    let noise = levels.map(|&gaussian| Noise {
        warp: Warp::default(),
        gaussian,
        masking: 0.0,
        seed: recipe.train.seed,
        streams: Streams::EVALUATION,
    });
    noise.collect()
}
