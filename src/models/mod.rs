//! Models: a file each, with its table in a recipe, its construction, its training step and its uses.

mod autoencoder;
mod chain;
mod classifier;
mod learn;
mod parts;
mod schema;
mod vae;

pub use autoencoder::Autoencoder;
pub use classifier::Classifier;
pub use learn::Learning;
pub(crate) use learn::unknown_part;
pub use parts::{Convolution, Pool, Size, Wrong};
pub use vae::Vae;

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::buffer::{Matrix, View};
use crate::emit::{Emitter, Parameters};
use crate::image::ImageShape;
use crate::kernels::{Activation, WindowError};
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
    /// The kind of a table that does not say its kind.
    pub const DEFAULT_KIND: &str = "autoencoder";
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

    /// The names of the model's parts, with which the names of its tensors begin.
    pub fn parts(&self) -> &'static [&'static str] {
        match self {
            Settings::Autoencoder(_) => autoencoder::PARTS,
            Settings::Vae(_) => vae::PARTS,
            Settings::Classifier(_) => classifier::PARTS,
        }
    }

    /// Declares the model's parameters. The parts named by `learn` are trained, and the others are frozen;
    /// all are trained if none is named.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if a layer does not fit the images, there are no labels to learn, or no such part.
    pub fn build(
        &self,
        plan: &mut PlanBuilder,
        task: Task,
        learn: &[String],
    ) -> Result<Box<dyn Model>, ModelError> {
        let learning = Learning::new(plan, self.parts(), learn)?;
        Ok(match self {
            Settings::Autoencoder(settings) => {
                Box::new(Autoencoder::new(plan, settings, task.image, learning)?)
            }
            Settings::Vae(settings) => Box::new(Vae::new(plan, settings, task.image, learning)),
            Settings::Classifier(settings) => {
                Box::new(Classifier::new(plan, settings, task, learning)?)
            }
        })
    }

    /// What keeps the tensors of another model from being this one's, in a sentence: what their names and
    /// shapes do not show.
    pub fn misfit(&self, other: &Settings) -> Option<String> {
        let is_vae = |settings: &Settings| matches!(settings, Settings::Vae(_));
        if is_vae(self) != is_vae(other) {
            return Some(format!("it is of kind \"{}\"", other.kind()));
        }
        let (convolutions, activation, code_activation) = self.layers();
        let (of_other, activation_of_other, code_activation_of_other) = other.layers();
        if convolutions != of_other {
            return Some("its convolutions are not the recipe's".to_owned());
        }
        let of_code = || {
            let (here, there) = (code_activation?, code_activation_of_other?);
            differ("code_activation", here, there)
        };
        differ("activation", activation, activation_of_other).or_else(of_code)
    }

    /// Convolutions, the activation, and the code's, if it has one of its own.
    fn layers(&self) -> (&[Convolution], Activation, Option<Activation>) {
        match self {
            Settings::Autoencoder(s) => (&s.convolutions, s.activation, Some(s.code_activation)),
            Settings::Classifier(s) => {
                let code_activation = s.code.map(|_| s.code_activation);
                (&s.convolutions, s.activation, code_activation)
            }
            Settings::Vae(s) => (&[], s.activation, None),
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

/// A sentence on two activations, if they differ.
fn differ(key: &str, here: Activation, there: Activation) -> Option<String> {
    let (of_recipe, of_file) = (here.name(), there.name());
    (here != there).then(|| format!("its {key} is {of_file}, the recipe's {of_recipe}"))
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
         but {size:?} is not even in both\nhint: change that convolution's kernel, stride or padding, or \
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
    /// A part that the model has not.
    #[error(
        "`train.learn` names a part `{asked}`: expected one of {}\nhint: learn = [\"{}\"]",
        known.join(", "), known[0]
    )]
    Part {
        /// What was asked for.
        asked: String,
        /// The parts that there are.
        known: &'static [&'static str],
    },
    /// A classifier of images without classes.
    #[error(
        "`model.kind = \"classifier\"`: expected a data set with labels, and this one has none\n\
         hint: for `data.name = \"npy\"` say `data.labels`, for \"images\" make a sub-folder per class, \
         or choose `kind = \"autoencoder\"`, which needs no labels"
    )]
    NoLabels,
}
