//! Models: a file each, with its table in a recipe, its construction, its training step and its uses.

mod autoencoder;
mod chain;
mod classifier;
mod parts;
mod schema;
mod vae;

pub use autoencoder::Autoencoder;
pub use classifier::Classifier;
pub use parts::{Convolution, Pool, Size, Wrong};
pub use vae::Vae;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::buffer::{Matrix, View};
use crate::emit::{Emitter, Parameters};
use crate::image::ImageShape;
use crate::kernels::WindowError;
use crate::plan::PlanBuilder;

/// What a model is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its images.
    pub image: ImageShape,
    /// Classes of its images; 0 if they have no labels.
    pub classes: usize,
}

/// The rows of a step.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Images as they are, `[N, H·W·C]`, in [0, 1].
    pub clean: Matrix,
    /// The same images with the recipe's noise.
    pub noisy: Matrix,
    /// Their labels `[N]`, if the model [reads](Model::reads_labels) them; `u32::MAX` where an image has
    /// none.
    pub labels: Option<View>,
}

/// A named way through a trained model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Images `[N, H·W·C]` to features.
    Encode,
    /// Noisy images `[N, H·W·C]` to clean ones, in [0, 1].
    Restore,
    /// Standard normal numbers to images, in [0, 1].
    Sample,
    /// Images `[N, H·W·C]` to the probability of each class.
    Classify,
}

impl Use {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Use::Encode => "encode",
            Use::Restore => "restore",
            Use::Sample => "sample",
            Use::Classify => "classify",
        }
    }
}

/// A model whose parameters are declared in a plan.
pub trait Model: fmt::Debug + Send + Sync {
    /// All of its tensors, in parts that are updated by themselves.
    fn parameters(&self) -> Vec<&Parameters>;

    /// The parts that training updates; the others are frozen.
    fn learnt(&self) -> Vec<&Parameters> {
        self.parameters()
    }

    /// Whether its steps read labels.
    fn reads_labels(&self) -> bool {
        false
    }

    /// Appends a training step: forward, objectives, backward and update of each turn.
    fn train(&self, e: &mut Emitter, batch: &Batch);

    /// Appends the measurement of held-out rows: the objectives' notes alone.
    fn measure(&self, e: &mut Emitter, batch: &Batch);

    /// The ways through it.
    fn uses(&self) -> &'static [Use];

    /// Columns of a use's input.
    fn input_width(&self, which: Use) -> usize;

    /// Appends a use. Returns its output.
    ///
    /// Panics if it is not one of [`uses`](Self::uses).
    fn emit_use(&self, e: &mut Emitter, which: Use, input: Matrix) -> Matrix;
}

/// `[model]`: the table of one kind of model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Settings {
    /// `kind = "autoencoder"`
    Autoencoder(autoencoder::Settings),
    /// `kind = "vae"`
    Vae(vae::Settings),
    /// `kind = "classifier"`
    Classifier(classifier::Settings),
}

pub use autoencoder::Settings as AutoencoderSettings;
pub use classifier::Settings as ClassifierSettings;
pub use vae::Settings as VaeSettings;

impl Settings {
    /// The kinds there are.
    pub const KINDS: [&str; 3] = ["autoencoder", "vae", "classifier"];

    /// Which kind it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Settings::Autoencoder(_) => "autoencoder",
            Settings::Vae(_) => "vae",
            Settings::Classifier(_) => "classifier",
        }
    }

    /// Declares the model's parameters.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if a layer does not fit the images, or there are no labels to learn.
    pub fn build(&self, plan: &mut PlanBuilder, task: Task) -> Result<Box<dyn Model>, ModelError> {
        Ok(match self {
            Settings::Autoencoder(settings) => {
                Box::new(Autoencoder::new(plan, settings, task.image)?)
            }
            Settings::Vae(settings) => Box::new(Vae::new(plan, settings, task.image)),
            Settings::Classifier(settings) => Box::new(Classifier::new(plan, settings, task)?),
        })
    }

    /// The file of weights that the model begins with, and what the names of the tensors begin with
    /// that it takes from there.
    pub fn begins_with(&self) -> Option<(&Path, &'static str)> {
        match self {
            Settings::Classifier(settings) => Some((settings.weights.as_deref()?, "encoder.")),
            Settings::Autoencoder(_) | Settings::Vae(_) => None,
        }
    }

    /// What keeps the encoder of another model from being this one's, in a sentence: what the shapes of
    /// their tensors do not show.
    pub fn misfit_of_encoder(&self, other: &Settings) -> Option<String> {
        let Settings::Classifier(settings) = self else {
            return None;
        };
        let (convolutions, activation, code_activation) = match other {
            Settings::Autoencoder(s) => (&s.convolutions, s.activation, s.code_activation),
            Settings::Classifier(s) => (&s.convolutions, s.activation, s.code_activation),
            Settings::Vae(_) => return Some("it is of kind \"vae\"".to_owned()),
        };
        if settings.convolutions != *convolutions {
            return Some("its convolutions are not the recipe's".to_owned());
        }
        if settings.activation != activation {
            let (there, here) = (activation.name(), settings.activation.name());
            return Some(format!("its activation is {there}, the recipe's {here}"));
        }
        if settings.code.is_some() && settings.code_activation != code_activation {
            let (there, here) = (code_activation.name(), settings.code_activation.name());
            return Some(format!(
                "its code_activation is {there}, the recipe's {here}"
            ));
        }
        None
    }

    /// The paths that it names.
    pub(crate) fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Settings::Classifier(settings) => settings.weights.iter_mut().collect(),
            Settings::Autoencoder(_) | Settings::Vae(_) => Vec::new(),
        }
    }

    /// The first value out of range.
    pub fn wrong(&self) -> Option<Wrong> {
        match self {
            Settings::Autoencoder(settings) => settings.wrong(),
            Settings::Vae(settings) => settings.wrong(),
            Settings::Classifier(settings) => settings.wrong(),
        }
    }

    /// The autoencoder's settings, if it is one, to be changed.
    pub fn autoencoder_mut(&mut self) -> Option<&mut AutoencoderSettings> {
        match self {
            Settings::Autoencoder(settings) => Some(settings),
            Settings::Vae(_) | Settings::Classifier(_) => None,
        }
    }

    /// The same model with every width and number of channels `narrowed`.
    pub fn narrowed(&self, narrow: impl Fn(usize) -> usize) -> Settings {
        let mut settings = self.clone();
        let (convolutions, hidden, code) = match &mut settings {
            Settings::Autoencoder(s) => (&mut s.convolutions[..], &mut s.hidden, Some(&mut s.code)),
            Settings::Vae(s) => (&mut [][..], &mut s.hidden, Some(&mut s.code)),
            Settings::Classifier(s) => (&mut s.convolutions[..], &mut s.hidden, s.code.as_mut()),
        };
        let channels = convolutions.iter_mut().map(|c| &mut c.channels);
        for width in channels.chain(hidden).chain(code) {
            *width = narrow(*width);
        }
        settings
    }
}

/// Layers that do not fit their task.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelError {
    /// A convolution.
    #[error(
        "convolution {stage} (from 1) does not fit its input of {input} \
             (height×width×channels): {source}"
    )]
    Window {
        /// Which, from 1.
        stage: usize,
        /// What it is given.
        input: ImageShape,
        /// Why.
        source: Box<WindowError>,
    },
    /// A pooling that would leave a row or column over.
    #[error(
        "pooling behind convolution {stage} (from 1) halves maps of {maps} (height×width×channels), \
         but {size:?} is not even in both: change that convolution's kernel, stride or padding, or \
         leave the pooling out"
    )]
    Pool {
        /// Which, from 1.
        stage: usize,
        /// What it is given.
        maps: ImageShape,
        /// Its height and width.
        size: [usize; 2],
    },
    /// A classifier of images without classes.
    #[error(
        "`model.kind = \"classifier\"`: expected a data set with labels, and this one has none\n\
         hint: for `data.name = \"npy\"` say `data.labels`, for \"images\" make a sub-folder per class, \
         or choose `kind = \"autoencoder\"`, which needs no labels"
    )]
    NoLabels,
}
