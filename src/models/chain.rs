//! Chains of layers with PyTorch's numbering, of which encoders and decoders are made.

use super::ModelError;
use super::parts::{Convolution, Pool};
use crate::emit::{Columns, Parameters};
use crate::image::ImageShape;
use crate::kernels::upsample::Enlargement;
use crate::kernels::{Activation, Window};
use crate::layers::{
    ActivationLayer, AvgPool2d, BatchNorm, Conv2d, ConvTranspose2d, Dense, Dropout, Layer,
    MaxPool2d, Reshape, Stack, Upsample2d,
};
use crate::plan::PlanBuilder;

/// A convolution with the sizes it has for an image.
pub(super) struct Stage {
    /// Images that go in.
    pub input: ImageShape,
    /// Convolution's channels.
    channels: usize,
    window: Window,
    pool: Option<(Pool, Window)>,
    /// Maps that come out, behind the pooling.
    pub output: ImageShape,
}

impl Stage {
    /// Every convolution's sizes, first to last. Errors if one does not fit its input.
    pub(super) fn of(
        convolutions: &[Convolution],
        image: ImageShape,
    ) -> Result<Vec<Stage>, ModelError> {
        let mut input = image;
        let mut stages = Vec::new();
        for (number, convolution) in (1..).zip(convolutions) {
            let window = convolution.window(input.size());
            let window = window.checked().map_err(|source| ModelError::Window {
                stage: number,
                input,
                source: Box::new(source),
            })?;
            let image = |[height, width]: [usize; 2]| ImageShape {
                height,
                width,
                channels: convolution.channels,
            };
            let maps = image(window.map());
            let pool = convolution.pool.map(|pool| (pool, halving(maps)));
            if pool.is_some() && maps.size().iter().any(|side| side % 2 == 1) {
                return Err(ModelError::Pool {
                    stage: number,
                    maps,
                    size: maps.size(),
                });
            }
            let output = pool.map_or(maps, |(_, halving)| image(halving.map()));
            stages.push(Stage {
                input,
                channels: convolution.channels,
                window,
                pool,
                output,
            });
            input = output;
        }
        Ok(stages)
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

/// What follows a layer's product.
#[derive(Clone, Copy)]
pub(super) enum After {
    /// Batch norm and an activation.
    Norm(Activation),
    /// A bias and an activation.
    Bias(Activation),
}
use After::{Bias, Norm};

impl After {
    /// Variance of the initial weights times their fan-in: what keeps a signal's size through f (He et
    /// al., 2015).
    fn gain(self) -> f64 {
        let (Norm(activation) | Bias(activation)) = self;
        match activation {
            Activation::Identity | Activation::Sigmoid | Activation::Tanh => 1.0,
            _ => 2.0,
        }
    }
}

/// Appends layers to a stack, numbering them as PyTorch numbers an `nn.Sequential`'s modules: each
/// activation, dropout, pooling, upsampling, flatten and unflatten counts as a module.
pub(super) struct Chain<'a> {
    prefix: &'static str,
    plan: &'a mut PlanBuilder,
    parameters: &'a mut Parameters,
    stack: Stack,
    /// Modules so far.
    modules: usize,
    /// The dense layers so far, for another chain to mirror.
    dense: Vec<Dense>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(
        prefix: &'static str,
        plan: &'a mut PlanBuilder,
        parameters: &'a mut Parameters,
    ) -> Self {
        Chain {
            prefix,
            plan,
            parameters,
            stack: Stack::default(),
            modules: 0,
            dense: Vec::new(),
        }
    }

    /// The layers, and the dense ones among them.
    pub(super) fn end(self) -> (Stack, Vec<Dense>) {
        (self.stack, self.dense)
    }

    fn push(&mut self, layer: impl Layer + 'static) {
        self.stack.push(layer);
    }

    /// The next module's name.
    fn name(&mut self) -> String {
        self.modules += 1;
        format!("{}.{}", self.prefix, self.modules - 1)
    }

    /// Images from one row each to a row per pixel; no module where PyTorch has images already.
    pub(super) fn unflatten(&mut self, image: ImageShape, is_module: bool) {
        self.modules += usize::from(is_module);
        self.push(Reshape::unflatten(image));
    }

    /// Images from a row per pixel to one row each; no module where PyTorch leaves images.
    pub(super) fn flatten(&mut self, image: ImageShape, is_module: bool) {
        self.modules += usize::from(is_module);
        self.push(Reshape::flatten(image));
    }

    /// Convolutions, flattened behind the last; nothing if there are none. Returns the columns that
    /// follow.
    pub(super) fn convolutions(
        &mut self,
        stages: &[Stage],
        image: ImageShape,
        activation: Activation,
    ) -> Columns {
        let Some(last) = stages.last() else {
            return Columns::Plain(image.features());
        };
        self.unflatten(image, false);
        for stage in stages {
            self.convolve(stage, activation);
        }
        self.flatten(last.output, true);
        Columns::Image(last.output)
    }

    /// Batch norm and activation.
    fn norm(&mut self, columns: Columns, activation: Activation) {
        let name = self.name();
        let fused = fused(activation);
        let norm = BatchNorm::new(self.plan, self.parameters, &name, columns, fused);
        self.push(norm);
        self.activation(activation);
    }

    /// The module of an activation, which is a layer of its own only if no kernel can fuse it.
    fn activation(&mut self, activation: Activation) {
        if activation == Activation::Identity {
            return;
        }
        let name = self.name();
        if activation.reads_input() {
            self.push(ActivationLayer { name, activation });
        }
    }

    /// dense → what comes after.
    pub(super) fn dense(&mut self, widths: [Columns; 2], after: After) {
        let name = self.name();
        let (plan, parameters) = (&mut *self.plan, &mut *self.parameters);
        let dense = Dense::new(plan, parameters, &name, widths, after.gain());
        self.follow(dense, after);
    }

    /// A dense layer with the transposed weight of another → what comes after.
    pub(super) fn mirror(&mut self, dense: &Dense, after: After) {
        let name = self.name();
        self.follow(dense.mirrored(&name), after);
    }

    fn follow(&mut self, dense: Dense, after: After) {
        let columns = dense.outputs();
        match after {
            Norm(activation) => {
                self.dense.push(dense.clone());
                self.push(dense);
                self.norm(columns, activation);
            }
            Bias(activation) => {
                let dense = dense.with_bias(self.plan, self.parameters, fused(activation));
                self.dense.push(dense.clone());
                self.push(dense);
                self.activation(activation);
            }
        }
    }

    /// Dropout, unless the rate is 0.
    pub(super) fn dropout(&mut self, rate: f64) {
        if rate > 0.0 {
            let name = self.name();
            self.push(Dropout { name, rate });
        }
    }

    /// conv → batch norm → activation → pool.
    fn convolve(&mut self, stage: &Stage, activation: Activation) {
        let name = self.name();
        let channels = [stage.input.channels, stage.channels];
        let gain = Norm(activation).gain();
        let (plan, parameters) = (&mut *self.plan, &mut *self.parameters);
        let conv = Conv2d::new(plan, parameters, &name, stage.window, channels, gain);
        self.push(conv);
        self.norm(stage.channels.into(), activation);
        if let Some((pool, window)) = stage.pool {
            let name = self.name();
            match pool {
                Pool::Max => self.push(MaxPool2d { name, window }),
                Pool::Average => self.push(AvgPool2d { name, window }),
            }
        }
    }

    /// upsample → transposed conv → what comes after.
    pub(super) fn convolve_back(&mut self, stage: &Stage, after: After) {
        if stage.pool.is_some() {
            let name = self.name();
            let enlargement = Enlargement {
                size: stage.output.size(),
                factor: [2; 2],
            };
            self.push(Upsample2d { name, enlargement });
        }
        let name = self.name();
        let channels = [stage.channels, stage.input.channels];
        let gain = after.gain();
        let (plan, parameters) = (&mut *self.plan, &mut *self.parameters);
        let conv = ConvTranspose2d::new(plan, parameters, &name, stage.window, channels, gain);
        match after {
            Norm(activation) => {
                self.push(conv);
                self.norm(stage.input.channels.into(), activation);
            }
            Bias(activation) => {
                let conv = conv.with_bias(plan, parameters, fused(activation));
                self.push(conv);
                self.activation(activation);
            }
        }
    }
}

/// What of an activation a kernel can fuse: all of it or nothing.
fn fused(activation: Activation) -> Activation {
    if activation.reads_input() {
        Activation::Identity
    } else {
        activation
    }
}
