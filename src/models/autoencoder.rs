//! The autoencoder: an hourglass of convolutions and fully connected layers.
//!
//! ```text
//! encoder   x [N, H·W·C]   → (conv → batch norm → f → pool, if any) for each stage
//!                          → (dense → batch norm → f) for each hidden width
//!                          → dense → batch norm → f_code              code [N, code]
//! decoder   code           → (dense → batch norm → f) for each hidden width, reversed
//!                          → dense → batch norm → f, back to the last stage's maps
//!                          → (upsample, if pooled → transposed conv → batch norm → f) reversed
//! ```
//! The decoder's last layer has a bias instead of a batch norm, and a sigmoid: y `[N, H·W·C]`. With
//! binary cross-entropy it ends in logits, and the sigmoid is the loss's. Without convolution stages
//! this is the dense autoencoder.
//!
//! Each transposed convolution slides the window of the convolution that it mirrors, so sizes come
//! out as they went in, odd ones too.

use thiserror::Error;

use crate::buffer::Matrix;
use crate::image::ImageShape;
use crate::kernels::loss::Loss;
use crate::kernels::upsample::Enlargement;
use crate::kernels::{Activation, Window, WindowError};
use crate::layers::{
    ActivationLayer, AvgPool2d, BatchNorm, Columns, Conv2d, ConvTranspose2d, Dense, Layer,
    MaxPool2d, Mode, Parameters, Reshape, Stack, Upsample2d,
};
use crate::plan::PlanBuilder;

/// The widths and functions of an autoencoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its images.
    pub image: ImageShape,
    /// Convolutions between image and hidden layers; the decoder mirrors them.
    pub convolutions: Vec<Stage>,
    /// Widths between maps (or image) and code; the decoder mirrors them.
    pub hidden: Vec<usize>,
    /// What follows every batch norm but the code's.
    pub activation: Activation,
    /// Width of the bottleneck.
    pub code: usize,
    /// What follows the code's batch norm.
    pub code_activation: Activation,
    /// Which loss the output is made for.
    pub loss: Loss,
}

/// One convolution of the encoder, and its mirror in the decoder. Pairs are \[rows, columns\].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Output channels.
    pub channels: usize,
    /// Taps.
    pub kernel: [usize; 2],
    /// Distance between positions.
    pub stride: [usize; 2],
    /// Zeros on each side.
    pub padding: [usize; 2],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Pooling by two behind it; the decoder doubles there.
    pub pool: Option<Pool>,
}

/// What a 2×2 pooling takes of each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Its maximum.
    Max,
    /// Its mean.
    Average,
}

/// Layers that do not fit the images.
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
}

/// An autoencoder whose parameters are declared in a plan.
#[derive(Debug)]
pub struct Autoencoder {
    /// From image to code.
    pub encoder: Stack,
    /// From code to image.
    pub decoder: Stack,
    /// Every tensor of both.
    pub parameters: Parameters,
    /// Which loss its output is made for.
    pub loss: Loss,
}

/// A stage with the sizes it has for an image.
struct Sized<'a> {
    stage: &'a Stage,
    input: ImageShape,
    window: Window,
    pool: Option<(Pool, Window)>,
    output: ImageShape,
}

impl Shape {
    /// Every stage's sizes, first to last.
    fn sized(&self) -> Result<Vec<Sized<'_>>, ModelError> {
        let mut input = self.image;
        let mut sized = Vec::new();
        for (index, stage) in self.convolutions.iter().enumerate() {
            let number = index + 1;
            let window = Window {
                size: input.size(),
                kernel: stage.kernel,
                stride: stage.stride,
                padding: stage.padding,
                dilation: stage.dilation,
            };
            let window = window.checked().map_err(|source| ModelError::Window {
                stage: number,
                input,
                source: Box::new(source),
            })?;
            let image = |[height, width]: [usize; 2]| ImageShape {
                height,
                width,
                channels: stage.channels,
            };
            let maps = image(window.map());
            let pool = stage.pool.map(|pool| (pool, halving(maps)));
            if pool.is_some() && maps.size().iter().any(|side| side % 2 == 1) {
                return Err(ModelError::Pool {
                    stage: number,
                    maps,
                    size: maps.size(),
                });
            }
            let output = pool.map_or(maps, |(_, halving)| image(halving.map()));
            sized.push(Sized {
                stage,
                input,
                window,
                pool,
                output,
            });
            input = output;
        }
        Ok(sized)
    }
}

/// The window of a pooling by two.
fn halving(maps: ImageShape) -> Window {
    Window {
        size: maps.size(),
        kernel: [2; 2],
        stride: [2; 2],
        padding: [0; 2],
        dilation: [1; 2],
    }
}

impl Autoencoder {
    /// Declares the parameters. Names are those of a PyTorch module with two `nn.Sequential`s,
    /// `encoder` and `decoder`, in which each activation, pooling, upsampling, flatten and unflatten
    /// counts as a module.
    ///
    /// Errors if a convolution does not fit its input.
    pub fn new(plan: &mut PlanBuilder, shape: &Shape) -> Result<Self, ModelError> {
        let stages = shape.sized()?;
        let mut parameters = Parameters::new(plan);
        let f = shape.activation;
        let images = stages.last().map(|stage| stage.output);
        let flat = match images {
            Some(maps) => Columns::Image(maps),
            None => Columns::Plain(shape.image.features()),
        };

        let mut encoder = Builder::new("encoder", plan, &mut parameters);
        if let Some(maps) = images {
            encoder.unflatten(shape.image, false);
            for stage in &stages {
                encoder.convolve(stage, f);
            }
            encoder.flatten(maps, true);
        }
        let mut columns = flat;
        for &width in &shape.hidden {
            encoder.dense([columns, width.into()], f);
            columns = width.into();
        }
        encoder.dense([columns, shape.code.into()], shape.code_activation);
        let encoder = encoder.stack;

        let mut decoder = Builder::new("decoder", plan, &mut parameters);
        let mut width = shape.code;
        for &next in shape.hidden.iter().rev() {
            decoder.dense([width.into(), next.into()], f);
            width = next;
        }
        let output = match shape.loss {
            Loss::MeanSquaredError => Activation::Sigmoid,
            Loss::BinaryCrossEntropy => Activation::Identity,
        };
        match images {
            None => decoder.last_dense([width.into(), flat], output),
            Some(maps) => {
                decoder.dense([width.into(), flat], f);
                decoder.unflatten(maps, true);
                for (index, stage) in stages.iter().enumerate().rev() {
                    let after = if index == 0 { Last(output) } else { Norm(f) };
                    decoder.convolve_back(stage, after);
                }
                decoder.flatten(shape.image, false);
            }
        }
        let decoder = decoder.stack;
        Ok(Autoencoder {
            encoder,
            decoder,
            parameters,
            loss: shape.loss,
        })
    }

    /// Appends the evaluation of `x`: its reconstruction, each value in [0, 1].
    pub fn reconstruct(&self, plan: &mut PlanBuilder, x: Matrix) -> Matrix {
        let (code, _) = self.encoder.forward(plan, x, Mode::Evaluation);
        let (y, _) = self.decoder.forward(plan, code, Mode::Evaluation);
        match self.loss {
            Loss::MeanSquaredError => y,
            Loss::BinaryCrossEntropy => {
                let sigmoid = ActivationLayer {
                    name: "sigmoid".to_owned(),
                    activation: Activation::Sigmoid,
                };
                sigmoid.forward(plan, y, Mode::Evaluation).y
            }
        }
    }
}

/// What follows a layer's product.
enum After {
    /// Batch norm and an activation.
    Norm(Activation),
    /// A bias and an activation: the output.
    Last(Activation),
}
use After::{Last, Norm};

/// Appends layers to a stack, numbering them as PyTorch numbers an `nn.Sequential`'s modules.
struct Builder<'a> {
    prefix: &'static str,
    plan: &'a mut PlanBuilder,
    parameters: &'a mut Parameters,
    stack: Stack,
    /// Modules so far.
    modules: usize,
}

impl<'a> Builder<'a> {
    fn new(
        prefix: &'static str,
        plan: &'a mut PlanBuilder,
        parameters: &'a mut Parameters,
    ) -> Self {
        Builder {
            prefix,
            plan,
            parameters,
            stack: Stack::default(),
            modules: 0,
        }
    }

    fn push(&mut self, layer: impl Layer + 'static) {
        self.stack.layers.push(Box::new(layer));
    }

    /// The next module's name.
    fn name(&mut self) -> String {
        self.modules += 1;
        format!("{}.{}", self.prefix, self.modules - 1)
    }

    /// Images from one row each to a row per pixel; no module where PyTorch has images already.
    fn unflatten(&mut self, image: ImageShape, is_module: bool) {
        self.modules += usize::from(is_module);
        self.push(Reshape::unflatten(image));
    }

    /// Images from a row per pixel to one row each; no module where PyTorch leaves images.
    fn flatten(&mut self, image: ImageShape, is_module: bool) {
        self.modules += usize::from(is_module);
        self.push(Reshape::flatten(image));
    }

    /// Batch norm and activation.
    fn norm(&mut self, columns: Columns, activation: Activation) {
        let name = self.name();
        let norm = BatchNorm::new(self.plan, self.parameters, &name, columns, activation);
        self.push(norm);
        self.modules += usize::from(activation != Activation::Identity);
    }

    /// dense → batch norm → activation.
    fn dense(&mut self, widths: [Columns; 2], activation: Activation) {
        let name = self.name();
        let gain = gain(activation);
        let dense = Dense::new(self.plan, self.parameters, &name, widths, gain);
        self.push(dense);
        self.norm(widths[1], activation);
    }

    /// dense + bias → activation.
    fn last_dense(&mut self, widths: [Columns; 2], activation: Activation) {
        let name = self.name();
        let dense = Dense::new(self.plan, self.parameters, &name, widths, 1.0);
        let dense = dense.with_bias(self.plan, self.parameters, activation);
        self.push(dense);
    }

    /// conv → batch norm → activation → pool.
    fn convolve(&mut self, stage: &Sized, activation: Activation) {
        let name = self.name();
        let channels = [stage.input.channels, stage.stage.channels];
        let gain = gain(activation);
        let (plan, parameters) = (&mut *self.plan, &mut *self.parameters);
        let conv = Conv2d::new(plan, parameters, &name, stage.window, channels, gain);
        self.push(conv);
        self.norm(stage.stage.channels.into(), activation);
        if let Some((pool, window)) = stage.pool {
            let name = self.name();
            match pool {
                Pool::Max => self.push(MaxPool2d { name, window }),
                Pool::Average => self.push(AvgPool2d { name, window }),
            }
        }
    }

    /// upsample → transposed conv → what comes after.
    fn convolve_back(&mut self, stage: &Sized, after: After) {
        if stage.pool.is_some() {
            let name = self.name();
            let enlargement = Enlargement {
                size: stage.output.size(),
                factor: [2; 2],
            };
            self.push(Upsample2d { name, enlargement });
        }
        let name = self.name();
        let channels = [stage.stage.channels, stage.input.channels];
        let gain = match after {
            Norm(activation) => gain(activation),
            Last(_) => 1.0,
        };
        let (plan, parameters) = (&mut *self.plan, &mut *self.parameters);
        let conv = ConvTranspose2d::new(plan, parameters, &name, stage.window, channels, gain);
        match after {
            Norm(activation) => {
                self.push(conv);
                self.norm(stage.input.channels.into(), activation);
            }
            Last(activation) => {
                let conv = conv.with_bias(plan, parameters, activation);
                self.push(conv);
            }
        }
    }
}

/// Variance of He et al.'s initial weights times their fan-in: what keeps a signal's size through f.
fn gain(activation: Activation) -> f64 {
    match activation {
        Activation::Relu | Activation::LeakyRelu | Activation::Elu | Activation::Softplus => 2.0,
        Activation::Identity | Activation::Sigmoid | Activation::Tanh => 1.0,
    }
}
