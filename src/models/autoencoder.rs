//! The autoencoder: an hourglass of convolutions and fully connected layers.
//!
//! ```text
//! encoder   x [N, H·W·C]   → (conv → batch norm → f → pool, if any) for each convolution
//!                          → (dense → batch norm → f) for each hidden width
//!                          → dense → batch norm → f_code              code [N, code]
//! decoder   code           → (dense → batch norm → f) for each hidden width, reversed
//!                          → dense → batch norm → f, back to the last convolution's maps
//!                          → (upsample, if pooled → transposed conv → batch norm → f) reversed
//! ```
//! The decoder's last layer has a bias instead of a batch norm, and a sigmoid: y `[N, H·W·C]`. With
//! binary cross-entropy it ends in logits, and the sigmoid is the loss's. Without convolutions this is
//! the dense autoencoder; its decoder may use the encoder's weights, transposed (`tied`).
//!
//! Each transposed convolution slides the window of the convolution that it mirrors, so sizes come
//! out as they went in, odd ones too.

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::chain::After::{Bias, Norm};
use super::chain::{Chain, Stage};
use super::parts::{Convolution, Wrong, wrong_convolution, wrong_width};
use super::{Batch, Learning, Model, ModelError, Use};
use crate::buffer::Matrix;
use crate::emit::{Columns, Emitter, Parameters};
use crate::image::ImageShape;
use crate::kernels::Activation;
use crate::kernels::loss::Loss;
use crate::layers::{ActivationLayer, Layer, Stack};
use crate::objective::{Per, reconstruction};
use crate::plan::PlanBuilder;

/// `[model]` with `kind = "autoencoder"`, or without a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What `kind` says, which has chosen this table.
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    pub kind: IgnoredAny,
    /// Convolutions between the image and the hidden layers; the decoder mirrors them. Without this key
    /// the model is dense.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub convolutions: Vec<Convolution>,
    /// Widths of the dense layers before the code; the decoder mirrors them.
    #[serde(default)]
    pub hidden: Vec<usize>,
    /// The activation behind every batch norm but the code's.
    #[serde(default = "relu")]
    pub activation: Activation,
    /// Width of the code (the bottleneck): the number of features.
    pub code: usize,
    /// The activation behind the code's batch norm.
    #[serde(default = "relu")]
    pub code_activation: Activation,
    /// The reconstruction loss.
    #[serde(default)]
    pub loss: Loss,
    /// Whether the decoder's weights are the encoder's, transposed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tied: bool,
}

fn relu() -> Activation {
    Activation::Relu
}

impl Settings {
    /// A dense autoencoder with ReLUs and the squared error.
    pub fn dense(hidden: &[usize], code: usize) -> Settings {
        Settings {
            kind: IgnoredAny,
            convolutions: Vec::new(),
            hidden: hidden.to_vec(),
            activation: Activation::Relu,
            code,
            code_activation: Activation::Relu,
            loss: Loss::MeanSquaredError,
            tied: false,
        }
    }

    /// The first value out of range.
    pub(super) fn wrong(&self) -> Option<Wrong> {
        let widths = wrong_width("model.hidden", &self.hidden);
        let code = || wrong_width("model.code", &[self.code]);
        let convolutions = || wrong_convolution(&self.convolutions);
        let tied = || {
            let expected =
                "`tied` without `model.convolutions`: only dense layers share their weights";
            let mirrored = !self.tied || self.convolutions.is_empty();
            (!mirrored).then(|| ("model.tied", "true".to_owned(), expected))
        };
        widths.or_else(code).or_else(convolutions).or_else(tied)
    }
}

/// The model's parts.
pub(super) const PARTS: &[&str] = &["encoder", "decoder"];

/// An autoencoder whose parameters are declared in a plan.
#[derive(Debug)]
pub struct Autoencoder {
    /// From image to code.
    pub encoder: Stack,
    /// From code to image.
    pub decoder: Stack,
    /// The parameters of both.
    pub learning: Learning,
    /// Which loss its output is made for.
    pub loss: Loss,
    features: usize,
}

impl Autoencoder {
    /// Declares the parameters. Names are those of a PyTorch module with two `nn.Sequential`s,
    /// `encoder` and `decoder`.
    ///
    /// Errors if a convolution does not fit its input.
    pub fn new(
        plan: &mut PlanBuilder,
        settings: &Settings,
        image: ImageShape,
        mut learning: Learning,
    ) -> Result<Self, ModelError> {
        let stages = Stage::of(&settings.convolutions, image)?;
        let f = settings.activation;

        let mut encoder = Chain::new("encoder", plan, learning.of("encoder"));
        let flat = encoder.convolutions(&stages, image, f);
        let mut columns = flat;
        for &width in &settings.hidden {
            encoder.dense([columns, width.into()], Norm(f));
            columns = width.into();
        }
        encoder.dense(
            [columns, settings.code.into()],
            Norm(settings.code_activation),
        );
        let (encoder, dense) = encoder.end();

        let mut decoder = Chain::new("decoder", plan, learning.of("decoder"));
        let output = match settings.loss {
            Loss::MeanSquaredError => Activation::Sigmoid,
            Loss::BinaryCrossEntropy => Activation::Identity,
        };
        let mut columns: Columns = settings.code.into();
        let widths = settings.hidden.iter().rev().map(|&width| width.into());
        let last = if stages.is_empty() {
            Bias(output)
        } else {
            Norm(f)
        };
        let mut mirrored = dense.iter().rev();
        for (index, next) in widths.chain([flat]).enumerate() {
            let after = if index < settings.hidden.len() {
                Norm(f)
            } else {
                last
            };
            let mirrored = mirrored.next().expect("as many as the encoder has");
            if settings.tied {
                decoder.mirror(mirrored, after);
            } else {
                decoder.dense([columns, next], after);
            }
            columns = next;
        }
        if let Some(stage) = stages.last() {
            decoder.unflatten(stage.output, true);
            for (index, stage) in stages.iter().enumerate().rev() {
                decoder.convolve_back(stage, if index == 0 { Bias(output) } else { Norm(f) });
            }
            decoder.flatten(image, false);
        }
        let (decoder, _) = decoder.end();
        Ok(Autoencoder {
            encoder,
            decoder,
            learning,
            loss: settings.loss,
            features: image.features(),
        })
    }
}

/// Appends the sigmoid of a decoder's output, unless it ends in one.
pub(super) fn pixels(e: &mut Emitter, loss: Loss, y: Matrix) -> Matrix {
    match loss {
        Loss::MeanSquaredError => y,
        Loss::BinaryCrossEntropy => {
            let sigmoid = ActivationLayer {
                name: "sigmoid".to_owned(),
                activation: Activation::Sigmoid,
            };
            sigmoid.forward(e, y).0
        }
    }
}

impl Model for Autoencoder {
    fn parameters(&self) -> Vec<&Parameters> {
        self.learning.all()
    }

    fn learnt(&self) -> Vec<&Parameters> {
        vec![self.learning.learnt()]
    }

    fn train(&self, e: &mut Emitter, batch: &Batch) {
        let learning = &self.learning;
        let of_encoder = &mut learning.emitter(e, "encoder");
        let (code, encoder) = self.encoder.forward(of_encoder, batch.noisy);
        let of_decoder = &mut learning.emitter(e, "decoder");
        let (y, decoder) = self.decoder.forward(of_decoder, code);
        let dy = reconstruction(e, "reconstruction", self.loss, Per::Element, y, batch.clean);
        let d_code = self.decoder.backward(e, decoder, dy);
        self.encoder.backward(e, encoder, d_code).unused();
        e.update(learning.learnt());
    }

    fn measure(&self, e: &mut Emitter, batch: &Batch) {
        let (code, _) = self.encoder.forward(e, batch.noisy);
        let (y, _) = self.decoder.forward(e, code);
        reconstruction(e, "reconstruction", self.loss, Per::Element, y, batch.clean).unused();
    }

    fn uses(&self) -> &'static [Use] {
        &[Use::Encode, Use::Restore]
    }

    fn input_width(&self, _: Use) -> usize {
        self.features
    }

    fn emit_use(&self, e: &mut Emitter, which: Use, input: Matrix) -> Matrix {
        let (code, _) = self.encoder.forward(e, input);
        match which {
            Use::Encode => code,
            Use::Restore => {
                let (y, _) = self.decoder.forward(e, code);
                pixels(e, self.loss, y)
            }
            Use::Sample | Use::Classify => panic!("an autoencoder cannot {}", which.name()),
        }
    }
}
