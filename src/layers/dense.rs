//! Dense: `y = f(x · weight + bias)`.

use super::{Layer, activate_backward, assert_fusible, sum_rows};
use crate::buffer::{Matrix, View};
use crate::emit::{Columns, Emitter, Gradient, Init, Layout, Parameter, Parameters};
use crate::kernels::Activation;
use crate::kernels::gemm::Gemm;
use crate::plan::{Pass, PlanBuilder};

/// A fully connected layer with an activation fused behind it.
///
/// Before a batch norm it has no bias: the norm subtracts the mean, and the bias with it.
#[derive(Clone, Debug)]
pub struct Dense {
    name: String,
    inputs: Columns,
    outputs: Columns,
    /// `[inputs, outputs]`, or `[outputs, inputs]` if it is another layer's, transposed
    weight: Parameter,
    transposed: bool,
    /// `[outputs]`
    bias: Option<Parameter>,
    activation: Activation,
}

impl Dense {
    /// Declares the layer's parameters as `{name}.weight` and `{name}.bias`; the weight starts as
    /// in He et al. with the given gain, the bias at 0.
    pub fn new(
        plan: &mut PlanBuilder,
        parameters: &mut Parameters,
        name: &str,
        [inputs, outputs]: [impl Into<Columns>; 2],
        gain: f64,
    ) -> Self {
        let (inputs, outputs) = (inputs.into(), outputs.into());
        let weight = parameters.parameter(
            plan,
            format!("{name}.weight"),
            inputs.count() * outputs.count(),
            Layout::dense(inputs, outputs),
            Init::Normal {
                gain,
                fan_in: inputs.count(),
            },
        );
        Dense {
            name: name.to_owned(),
            inputs,
            outputs,
            weight,
            transposed: false,
            bias: None,
            activation: Activation::Identity,
        }
    }

    /// A layer from this one's outputs to its inputs that uses its weight, transposed: “tied”. It has no
    /// weight of its own; the gradients of both uses are added.
    pub fn mirrored(&self, name: &str) -> Dense {
        Dense {
            name: name.to_owned(),
            inputs: self.outputs,
            outputs: self.inputs,
            weight: self.weight,
            transposed: !self.transposed,
            bias: None,
            activation: Activation::Identity,
        }
    }

    /// What its columns are.
    pub fn outputs(&self) -> Columns {
        self.outputs
    }

    /// Adds a bias and an activation behind it.
    ///
    /// Panics if the activation [reads its input](Activation::reads_input).
    pub fn with_bias(
        self,
        plan: &mut PlanBuilder,
        parameters: &mut Parameters,
        activation: Activation,
    ) -> Self {
        assert_fusible(&self.name, activation);
        let name = format!("{}.bias", self.name);
        let (layout, init) = (Layout::vector(self.outputs), Init::Constant(0.0));
        let bias = parameters.parameter(plan, name, self.outputs.count(), layout, init);
        Dense {
            bias: Some(bias),
            activation,
            ..self
        }
    }

    /// A view of the weight, or of its gradient, as it lies.
    fn matrix(&self, view: View) -> Matrix {
        let (inputs, outputs) = (self.inputs.count(), self.outputs.count());
        if self.transposed {
            view.matrix(outputs, inputs)
        } else {
            view.matrix(inputs, outputs)
        }
    }
}

/// What [`Dense`] saves.
#[derive(Debug)]
pub struct Saved {
    x: Matrix,
    y: Matrix,
}

impl Layer for Dense {
    type Saved = Saved;

    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Saved) {
        let e = &mut e.at(&self.name, Pass::Forward);
        let y = e.matrix("y", x.rows, self.outputs.count());
        e.launch(
            "",
            Gemm {
                bias: self.bias.map(|bias| bias.value),
                activation: self.activation,
                transpose_b: self.transposed,
                ..Gemm::new(x, self.matrix(self.weight.value), y)
            },
        );
        (y, Saved { x, y })
    }

    fn backward(&self, e: &mut Emitter, saved: Saved, dy: Gradient) -> Gradient {
        let e = &mut e.at(&self.name, Pass::Backward);
        let Saved { x, y } = saved;

        // dz = dy · f′(y), z = x · weight + bias;  d_bias = Σ rows of dz
        let dz = activate_backward(e, self.activation, y, dy);
        if let Some(bias) = self.bias {
            e.learn([bias], |e, [d_bias]| sum_rows(e, &dz, d_bias));
        }
        let dz = dz.matrix();

        // d_weight = xᵀ · dz, as the weight lies
        e.learn([self.weight], |e, [d_weight]| {
            let [left, right] = if self.transposed { [dz, x] } else { [x, dz] };
            let d_weight = self.matrix(d_weight);
            e.launch("weight", Gemm::new(left, right, d_weight).transpose_a());
        });

        // dx [rows, inputs] = dz · weightᵀ
        let dx = e.matrix("dx", dz.rows, self.inputs.count());
        let product = Gemm {
            transpose_b: !self.transposed,
            ..Gemm::new(dz, self.matrix(self.weight.value), dx)
        };
        e.launch("data", product);
        Gradient::new(dx)
    }
}
