//! `[model]`: the shape of the autoencoder.

use serde::{Deserialize, Serialize};

use crate::kernels::Activation;
use crate::kernels::loss::Loss;
use crate::layers::ImageShape;
use crate::models::{Pool, Shape, Stage};

/// `[model]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Convolutions between image and hidden layers; the decoder mirrors them. None for a dense
    /// model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub convolutions: Vec<Convolution>,
    /// Widths between maps (or image) and code; the decoder mirrors them.
    #[serde(default)]
    pub hidden: Vec<usize>,
    /// What follows every batch norm but the code's.
    #[serde(default = "relu")]
    pub activation: ActivationName,
    /// Width of the bottleneck.
    pub code: usize,
    /// What follows the code's batch norm.
    #[serde(default = "relu")]
    pub code_activation: ActivationName,
    /// Reconstruction loss.
    #[serde(default)]
    pub loss: LossName,
}

/// One of `model.convolutions`. A size is one number, or \[rows, columns\].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// Output channels.
    pub channels: usize,
    /// Taps.
    pub kernel: Size,
    /// Distance between positions.
    #[serde(default = "one")]
    pub stride: Size,
    /// Zeros on each side; if absent, as many as keep the size at stride 1 (for odd kernels).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding: Option<Size>,
    /// Distance between taps.
    #[serde(default = "one")]
    pub dilation: Size,
    /// Pooling by two behind it; the decoder doubles there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
}

/// One number for both directions, or \[rows, columns\].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a whole number or a pair [rows, columns]")]
pub enum Size {
    /// The same in both directions.
    Both(usize),
    /// \[rows, columns\]
    Pair([usize; 2]),
}

impl Size {
    /// \[rows, columns\]
    pub fn pair(self) -> [usize; 2] {
        match self {
            Size::Both(size) => [size; 2],
            Size::Pair(pair) => pair,
        }
    }
}

fn one() -> Size {
    Size::Both(1)
}

fn relu() -> ActivationName {
    ActivationName::Relu
}

/// What a 2×2 pooling takes of each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolName {
    /// Its maximum.
    Max,
    /// Its mean.
    Average,
}

/// A function applied to every element; see [`Activation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // `Activation` has the formulas.
pub enum ActivationName {
    Identity,
    Relu,
    LeakyRelu,
    Elu,
    Sigmoid,
    Tanh,
    Softplus,
}

impl From<ActivationName> for Activation {
    fn from(name: ActivationName) -> Self {
        match name {
            ActivationName::Identity => Activation::Identity,
            ActivationName::Relu => Activation::Relu,
            ActivationName::LeakyRelu => Activation::LeakyRelu,
            ActivationName::Elu => Activation::Elu,
            ActivationName::Sigmoid => Activation::Sigmoid,
            ActivationName::Tanh => Activation::Tanh,
            ActivationName::Softplus => Activation::Softplus,
        }
    }
}

/// Reconstruction loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossName {
    /// Mean squared error behind a sigmoid.
    #[default]
    Mse,
    /// Binary cross-entropy from logits.
    Bce,
}

impl From<LossName> for Loss {
    fn from(name: LossName) -> Self {
        match name {
            LossName::Mse => Loss::MeanSquaredError,
            LossName::Bce => Loss::BinaryCrossEntropy,
        }
    }
}

impl Convolution {
    fn stage(&self) -> Stage {
        let (kernel, dilation) = (self.kernel.pair(), self.dilation.pair());
        let same = [0, 1].map(|i| dilation[i] * kernel[i].saturating_sub(1) / 2);
        Stage {
            channels: self.channels,
            kernel,
            stride: self.stride.pair(),
            padding: self.padding.map_or(same, Size::pair),
            dilation,
            pool: self.pool.map(|pool| match pool {
                PoolName::Max => Pool::Max,
                PoolName::Average => Pool::Average,
            }),
        }
    }
}

impl Model {
    /// The model for images of a shape.
    pub fn shape(&self, image: ImageShape) -> Shape {
        Shape {
            image,
            convolutions: self.convolutions.iter().map(Convolution::stage).collect(),
            hidden: self.hidden.clone(),
            activation: self.activation.into(),
            code: self.code,
            code_activation: self.code_activation.into(),
            loss: self.loss.into(),
        }
    }

    /// The first value out of range: its key, what it says, and what it may say.
    pub(super) fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        /// Widest layer: beyond it even one weight matrix would not fit any memory.
        const WIDEST: usize = 1 << 24;
        const WIDTH: &str = "a width from 1 to 16777216";
        /// Largest kernel, stride, padding or dilation.
        const FARTHEST: usize = 1 << 12;
        let fits = |width: &usize| (1..=WIDEST).contains(width);
        if let Some(width) = self.hidden.iter().find(|width| !fits(width)) {
            return Some(("model.hidden", width.to_string(), WIDTH));
        }
        if !fits(&self.code) {
            return Some(("model.code", self.code.to_string(), WIDTH));
        }
        for convolution in &self.convolutions {
            if !fits(&convolution.channels) {
                let channels = convolution.channels.to_string();
                return Some(("model.convolutions.channels", channels, WIDTH));
            }
            let stage = convolution.stage();
            for (key, pair, least) in [
                ("model.convolutions.kernel", stage.kernel, 1),
                ("model.convolutions.stride", stage.stride, 1),
                ("model.convolutions.dilation", stage.dilation, 1),
                ("model.convolutions.padding", stage.padding, 0),
            ] {
                if pair.iter().any(|side| !(least..=FARTHEST).contains(side)) {
                    let expected = match least {
                        0 => "0 to 4096 in both directions",
                        _ => "1 to 4096 in both directions",
                    };
                    return Some((key, format!("{pair:?}"), expected));
                }
            }
        }
        None
    }
}
