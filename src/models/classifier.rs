//! The classifier: an autoencoder's encoder, new or trained, and a layer that tells classes apart.
//!
//! ```text
//! encoder   x [N, H·W·C]  → (conv → batch norm → f → pool, if any) for each convolution
//!                         → (dense → batch norm → f → dropout, if any) for each hidden width
//!                         → dense → batch norm → f_code, if there is a code
//! head      → dense + bias                                          logits [N, classes]
//!
//! loss      softmax cross-entropy, the mean over images that have a label
//! ```
//! The encoder's tensors have the names that an autoencoder's encoder has (without dropout, whose
//! modules count), so that it can begin with the weights of one: `train.from` names the file.
//! `train.learn = ["head"]` leaves them as they are, and the batch norms with their running statistics.

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::chain::After::{Bias, Norm};
use super::chain::{Chain, Stage};
use super::parts::{Convolution, Wrong, wrong_convolution, wrong_width};
use super::{Batch, Learning, Model, ModelError, Task, Use};
use crate::buffer::Matrix;
use crate::emit::{Emitter, Parameters};
use crate::kernels::Activation;
use crate::layers::{Layer, Stack};
use crate::objective::{probabilities, softmax_cross_entropy};
use crate::plan::PlanBuilder;

/// `[model]` with `kind = "classifier"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What `kind` says, which has chosen this table.
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    pub kind: IgnoredAny,
    /// Convolutions between the image and the hidden layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub convolutions: Vec<Convolution>,
    /// Widths of the hidden layers.
    #[serde(default)]
    pub hidden: Vec<usize>,
    /// The activation behind every batch norm but the code's.
    #[serde(default = "relu")]
    pub activation: Activation,
    /// Probability that training sets an output of a hidden layer to 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
    /// Width of the code, if the layers before the classes are those of an autoencoder's encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<usize>,
    /// The activation behind the code's batch norm.
    #[serde(default = "relu")]
    pub code_activation: Activation,
}

fn relu() -> Activation {
    Activation::Relu
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

impl Settings {
    /// A new dense classifier with ReLUs.
    pub fn dense(hidden: &[usize]) -> Settings {
        Settings {
            kind: IgnoredAny,
            convolutions: Vec::new(),
            hidden: hidden.to_vec(),
            activation: Activation::Relu,
            dropout: 0.0,
            code: None,
            code_activation: Activation::Relu,
        }
    }

    /// The first value out of range.
    pub(super) fn wrong(&self) -> Option<Wrong> {
        let widths = wrong_width("model.hidden", &self.hidden);
        let code = || wrong_width("model.code", self.code.as_slice());
        let convolutions = || wrong_convolution(&self.convolutions);
        let dropout = || {
            let fits = (0.0..1.0).contains(&self.dropout);
            (!fits).then(|| {
                (
                    "model.dropout",
                    self.dropout.to_string(),
                    "a part, 0 ≤ p < 1",
                )
            })
        };
        widths.or_else(code).or_else(convolutions).or_else(dropout)
    }
}

/// The model's parts.
pub(super) const PARTS: &[&str] = &["encoder", "head"];

/// A classifier whose parameters are declared in a plan.
#[derive(Debug)]
pub struct Classifier {
    encoder: Stack,
    head: Stack,
    learning: Learning,
    features: usize,
}

impl Classifier {
    /// Declares the parameters. Names are those of a PyTorch module with two `nn.Sequential`s, `encoder`
    /// and `head`.
    ///
    /// Errors if a convolution does not fit its input, or if there are no classes.
    pub fn new(
        plan: &mut PlanBuilder,
        settings: &Settings,
        task: Task,
        mut learning: Learning,
    ) -> Result<Self, ModelError> {
        if task.classes == 0 {
            return Err(ModelError::NoLabels);
        }
        let stages = Stage::of(&settings.convolutions, task.image)?;
        let f = settings.activation;

        let mut encoder = Chain::new("encoder", plan, learning.of("encoder"));
        let mut columns = encoder.convolutions(&stages, task.image, f);
        for &width in &settings.hidden {
            encoder.dense([columns, width.into()], Norm(f));
            encoder.dropout(settings.dropout);
            columns = width.into();
        }
        if let Some(code) = settings.code {
            encoder.dense([columns, code.into()], Norm(settings.code_activation));
            columns = code.into();
        }
        let (encoder, _) = encoder.end();

        let mut head = Chain::new("head", plan, learning.of("head"));
        head.dense([columns, task.classes.into()], Bias(Activation::Identity));
        let (head, _) = head.end();
        Ok(Classifier {
            encoder,
            head,
            learning,
            features: task.image.features(),
        })
    }
}

impl Model for Classifier {
    fn parameters(&self) -> Vec<&Parameters> {
        self.learning.all()
    }

    fn learnt(&self) -> Vec<&Parameters> {
        vec![self.learning.learnt()]
    }

    fn reads_labels(&self) -> bool {
        true
    }

    fn train(&self, e: &mut Emitter, batch: &Batch) {
        let labels = batch.labels.expect("a feed with labels");
        let learning = &self.learning;
        let of_encoder = &mut learning.emitter(e, "encoder");
        let (code, encoder) = self.encoder.forward(of_encoder, batch.noisy);
        let (y, head) = self.head.forward(&mut learning.emitter(e, "head"), code);
        let dy = softmax_cross_entropy(e, y, labels);
        let d_code = self.head.backward(e, head, dy);
        self.encoder.backward(e, encoder, d_code).unused();
        e.update(learning.learnt());
    }

    fn measure(&self, e: &mut Emitter, batch: &Batch) {
        let labels = batch.labels.expect("a feed with labels");
        let (code, _) = self.encoder.forward(e, batch.clean);
        let (y, _) = self.head.forward(e, code);
        softmax_cross_entropy(e, y, labels).unused();
    }

    fn uses(&self) -> &'static [Use] {
        &[Use::Encode, Use::Classify]
    }

    fn input_width(&self, _: Use) -> usize {
        self.features
    }

    /// The features of an image are what the head is given.
    fn emit_use(&self, e: &mut Emitter, which: Use, input: Matrix) -> Matrix {
        let (code, _) = self.encoder.forward(e, input);
        match which {
            Use::Encode => code,
            Use::Classify => {
                let (y, _) = self.head.forward(e, code);
                probabilities(e, y)
            }
            Use::Restore | Use::Sample => panic!("a classifier cannot {}", which.name()),
        }
    }
}
