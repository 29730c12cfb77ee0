//! The variational autoencoder (Kingma and Welling, “Auto-encoding variational Bayes”, 2014).
//!
//! ```text
//! encoder   x [N, H·W·C] → (dense + bias → f) for each hidden width → dense + bias   q [N, 2·code]
//! sample    q = (μ, ln σ²),  ε ~ N(0, 1)                            z = μ + σ ε [N, code]
//! decoder   z → (dense + bias → f) for each hidden width, reversed → dense + bias    logits [N, H·W·C]
//!
//! loss      binary cross-entropy of the logits + β · KL(N(μ, σ²) ‖ N(0, 1)), both in nats per image
//! ```

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::autoencoder::pixels;
use super::chain::After::Bias;
use super::chain::Chain;
use super::parts::{Wrong, wrong_width};
use super::{Batch, Learning, Model, Use};
use crate::buffer::Matrix;
use crate::emit::{Columns, Emitter, Parameters};
use crate::image::ImageShape;
use crate::kernels::Activation;
use crate::kernels::loss::Loss;
use crate::layers::{GaussianSample, Layer, Stack};
use crate::objective::{Per, kl_to_normal, reconstruction};
use crate::plan::PlanBuilder;

/// `[model]` with `kind = "vae"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What `kind` says, which has chosen this table.
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    pub kind: IgnoredAny,
    /// Widths of the dense layers between the image and the code; the decoder mirrors them.
    #[serde(default)]
    pub hidden: Vec<usize>,
    /// The activation of the hidden layers.
    #[serde(default = "relu")]
    pub activation: Activation,
    /// Width of the code: the number of latent variables.
    pub code: usize,
    /// Weight of the divergence in the loss: 1 for the bound of Kingma and Welling, other numbers for the
    /// β-VAE (Higgins et al., 2017).
    #[serde(default = "one")]
    pub beta: f64,
}

fn relu() -> Activation {
    Activation::Relu
}

fn one() -> f64 {
    1.0
}

impl Settings {
    /// ReLUs, and a divergence that weighs 1.
    pub fn new(hidden: &[usize], code: usize) -> Settings {
        Settings {
            kind: IgnoredAny,
            hidden: hidden.to_vec(),
            activation: relu(),
            code,
            beta: one(),
        }
    }

    /// The first value out of range.
    pub(super) fn wrong(&self) -> Option<Wrong> {
        let widths = wrong_width("model.hidden", &self.hidden);
        let code = || wrong_width("model.code", &[self.code]);
        let beta = || {
            let fits = self.beta.is_finite() && self.beta >= 0.0;
            (!fits).then(|| ("model.beta", self.beta.to_string(), "β ≥ 0"))
        };
        widths.or_else(code).or_else(beta)
    }
}

/// The model's parts.
pub(super) const PARTS: &[&str] = &["encoder", "decoder"];

/// A variational autoencoder whose parameters are declared in a plan.
#[derive(Debug)]
pub struct Vae {
    encoder: Stack,
    sample: GaussianSample,
    decoder: Stack,
    learning: Learning,
    beta: f64,
    features: usize,
    code: usize,
}

impl Vae {
    /// Declares the parameters. Names are those of a PyTorch module with two `nn.Sequential`s,
    /// `encoder` and `decoder`.
    pub fn new(
        plan: &mut PlanBuilder,
        settings: &Settings,
        image: ImageShape,
        mut learning: Learning,
    ) -> Vae {
        let features = Columns::Plain(image.features());
        let mut stack = |prefix, widths: &[Columns]| {
            let mut chain = Chain::new(prefix, plan, learning.of(prefix));
            for (index, pair) in widths.windows(2).enumerate() {
                let is_last = index + 2 == widths.len();
                let f = if is_last {
                    Activation::Identity
                } else {
                    settings.activation
                };
                chain.dense([pair[0], pair[1]], Bias(f));
            }
            chain.end().0
        };
        let hidden = settings.hidden.iter().map(|&width| Columns::Plain(width));
        let (first, code) = ([features], settings.code);
        let down: Vec<Columns> = first.into_iter().chain(hidden.clone()).collect();
        let up: Vec<Columns> = hidden.rev().chain(first).collect();
        Vae {
            encoder: stack(
                "encoder",
                &[&down[..], &[Columns::Plain(2 * code)]].concat(),
            ),
            sample: GaussianSample {
                name: "sample".to_owned(),
            },
            decoder: stack("decoder", &[&[Columns::Plain(code)], &up[..]].concat()),
            learning,
            beta: settings.beta,
            features: image.features(),
            code,
        }
    }
}

impl Model for Vae {
    fn parameters(&self) -> Vec<&Parameters> {
        self.learning.all()
    }

    fn learnt(&self) -> Vec<&Parameters> {
        vec![self.learning.learnt()]
    }

    fn train(&self, e: &mut Emitter, batch: &Batch) {
        let learning = &self.learning;
        let of_encoder = &mut learning.emitter(e, "encoder");
        let (q, encoder) = self.encoder.forward(of_encoder, batch.noisy);
        let (z, sample) = self.sample.forward(e, q);
        let of_decoder = &mut learning.emitter(e, "decoder");
        let (y, decoder) = self.decoder.forward(of_decoder, z);

        let loss = Loss::BinaryCrossEntropy;
        let dy = reconstruction(e, "reconstruction", loss, Per::Image, y, batch.clean);
        let dq_kl = kl_to_normal(e, self.beta, q);

        let dz = self.decoder.backward(e, decoder, dy);
        // q is read by the sampling and by the divergence.
        let dq = self.sample.backward(e, sample, dz).plus(e, dq_kl);
        self.encoder.backward(e, encoder, dq).unused();
        e.update(learning.learnt());
    }

    fn measure(&self, e: &mut Emitter, batch: &Batch) {
        let (q, _) = self.encoder.forward(e, batch.noisy);
        let (z, _) = self.sample.forward(e, q);
        let (y, _) = self.decoder.forward(e, z);
        let loss = Loss::BinaryCrossEntropy;
        reconstruction(e, "reconstruction", loss, Per::Image, y, batch.clean).unused();
        kl_to_normal(e, self.beta, q).unused();
    }

    fn uses(&self) -> &'static [Use] {
        &[Use::Encode, Use::Restore, Use::Sample]
    }

    fn input_width(&self, which: Use) -> usize {
        match which {
            Use::Sample => self.code,
            _ => self.features,
        }
    }

    /// The features of an image are the mean of its code's distribution; it is restored from that mean.
    fn emit_use(&self, e: &mut Emitter, which: Use, input: Matrix) -> Matrix {
        let code = match which {
            Use::Sample => input,
            _ => {
                let (q, _) = self.encoder.forward(e, input);
                self.sample.mean(e, q)
            }
        };
        match which {
            Use::Encode => code,
            Use::Restore | Use::Sample => {
                let (y, _) = self.decoder.forward(e, code);
                pixels(e, Loss::BinaryCrossEntropy, y)
            }
            Use::Classify => panic!("a variational autoencoder cannot classify"),
        }
    }
}
