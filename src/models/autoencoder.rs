//! The dense autoencoder: an hourglass of fully connected layers.
//!
//! ```text
//! encoder   x [N, inputs]  → (dense → batch norm → ReLU) for each hidden width
//!                          → dense → batch norm → f_code        code [N, code]
//! decoder   code           → (dense → batch norm → ReLU) for each hidden width, reversed
//!                          → dense + bias → sigmoid             y [N, inputs]
//! ```
//! With binary cross-entropy the decoder ends in logits, and the sigmoid is the loss's.

use crate::kernels::Activation;
use crate::kernels::loss::Loss;
use crate::layers::{ActivationLayer, BatchNorm, Dense, Layer, Mode, Parameters, Stack};
use crate::plan::{Matrix, PlanBuilder};

/// The widths and functions of an autoencoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Features of an image.
    pub inputs: usize,
    /// Widths between input and code; the decoder mirrors them.
    pub hidden: Vec<usize>,
    /// Width of the bottleneck.
    pub code: usize,
    /// What follows the code's batch norm.
    pub code_activation: Activation,
    /// Which loss the output is made for.
    pub loss: Loss,
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

impl Autoencoder {
    /// Declares the parameters. Names are those of a PyTorch module with two `nn.Sequential`s,
    /// `encoder` and `decoder`, in which each activation counts as a module.
    pub fn new(plan: &mut PlanBuilder, shape: &Shape) -> Self {
        let mut parameters = Parameters::new(plan);
        let mut encoder = Stack::default();
        let mut modules = 0;
        let mut width = shape.inputs;
        for &next in &shape.hidden {
            let block = Block("encoder", [width, next], Activation::Relu);
            block.append(plan, &mut parameters, &mut encoder, &mut modules);
            width = next;
        }
        let block = Block("encoder", [width, shape.code], shape.code_activation);
        block.append(plan, &mut parameters, &mut encoder, &mut modules);

        let mut decoder = Stack::default();
        let mut modules = 0;
        let mut width = shape.code;
        for &next in shape.hidden.iter().rev() {
            let block = Block("decoder", [width, next], Activation::Relu);
            block.append(plan, &mut parameters, &mut decoder, &mut modules);
            width = next;
        }
        let output = match shape.loss {
            Loss::MeanSquaredError => Activation::Sigmoid,
            Loss::BinaryCrossEntropy => Activation::Identity,
        };
        let name = format!("decoder.{modules}");
        let dense = Dense::new(plan, &mut parameters, &name, [width, shape.inputs], 1.0);
        let dense = dense.with_bias(plan, &mut parameters, output);
        decoder.layers.push(Box::new(dense));
        Autoencoder {
            encoder,
            decoder,
            parameters,
            loss: shape.loss,
        }
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

/// dense → batch norm → activation, from one width to the next, in the stack of this name.
struct Block(&'static str, [usize; 2], Activation);

impl Block {
    fn append(
        self,
        plan: &mut PlanBuilder,
        parameters: &mut Parameters,
        stack: &mut Stack,
        modules: &mut usize,
    ) {
        let Block(prefix, widths, activation) = self;
        let gain = if activation == Activation::Relu {
            2.0
        } else {
            1.0
        };
        let name = format!("{prefix}.{modules}");
        let dense = Dense::new(plan, parameters, &name, widths, gain);
        stack.layers.push(Box::new(dense));
        let name = format!("{prefix}.{}", *modules + 1);
        let norm = BatchNorm::new(plan, parameters, &name, widths[1], activation);
        stack.layers.push(Box::new(norm));
        *modules += if activation == Activation::Identity {
            2
        } else {
            3
        };
    }
}
