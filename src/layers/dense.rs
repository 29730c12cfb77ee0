//! Dense: `y = f(x · weight + bias)`.

use super::{Init, Layer, Layout, Mode, Parameter, Parameters, Saved};
use crate::kernels::Activation;
use crate::kernels::activation;
use crate::kernels::column_sum::{ColumnSumFinish, ColumnSumPartial, blocks};
use crate::kernels::gemm::Gemm;
use crate::plan::{Matrix, PlanBuilder};

/// A fully connected layer with an activation fused behind it.
///
/// Before a batch norm it has no bias: the norm subtracts the mean, and the bias with it.
#[derive(Clone, Debug)]
pub struct Dense {
    name: String,
    inputs: usize,
    outputs: usize,
    /// `[inputs, outputs]`
    weight: Parameter,
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
        [inputs, outputs]: [usize; 2],
        gain: f64,
    ) -> Self {
        let weight = parameters.parameter(
            plan,
            format!("{name}.weight"),
            inputs * outputs,
            Layout::Transposed {
                rows: inputs,
                cols: outputs,
            },
            Init::Normal {
                gain,
                fan_in: inputs,
            },
        );
        Dense {
            name: name.to_owned(),
            inputs,
            outputs,
            weight,
            bias: None,
            activation: Activation::Identity,
        }
    }

    /// Adds a bias and an activation behind it.
    pub fn with_bias(
        self,
        plan: &mut PlanBuilder,
        parameters: &mut Parameters,
        activation: Activation,
    ) -> Self {
        let name = format!("{}.bias", self.name);
        let init = Init::Constant(0.0);
        let bias = parameters.parameter(plan, name, self.outputs, Layout::Same, init);
        Dense {
            bias: Some(bias),
            activation,
            ..self
        }
    }
}

impl Layer for Dense {
    fn name(&self) -> &str {
        &self.name
    }

    fn forward(&self, plan: &mut PlanBuilder, x: Matrix, _mode: Mode) -> Saved {
        let y = plan.temporary_matrix(format!("{}.y", self.name), x.rows, self.outputs);
        let weight = self.weight.value.matrix(self.inputs, self.outputs);
        plan.launch(
            format!("{} forward", self.name),
            Gemm {
                bias: self.bias.map(|bias| bias.value),
                activation: self.activation,
                ..Gemm::new(x, weight, y)
            },
        );
        Saved {
            x,
            y,
            normaliser: None,
        }
    }

    fn backward(
        &self,
        plan: &mut PlanBuilder,
        saved: &Saved,
        dy: Matrix,
        need_dx: bool,
    ) -> Option<Matrix> {
        let label = |what: &str| format!("{} backward: {what}", self.name);
        let rows = dy.rows;

        // dz = dy · f′(y), z = x · weight + bias
        let dz = if self.activation == Activation::Identity {
            dy
        } else {
            let dz = plan.temporary_matrix(format!("{}.dz", self.name), rows, self.outputs);
            plan.launch(
                label("activation"),
                activation::Backward {
                    y: saved.y.view,
                    dy: dy.view,
                    dx: dz.view,
                    activation: self.activation,
                },
            );
            dz
        };

        // d_bias = Σ rows of dz
        if let Some(bias) = self.bias {
            let partial = plan.temporary_matrix(
                format!("{}.d_bias.partial", self.name),
                blocks(rows),
                self.outputs,
            );
            plan.launch(
                label("bias, blocks"),
                ColumnSumPartial {
                    x: dz,
                    partial: partial.view,
                },
            );
            plan.launch(
                label("bias"),
                ColumnSumFinish {
                    partial,
                    sum: bias.gradient,
                },
            );
        }

        // d_weight [inputs, outputs] = xᵀ · dz
        let d_weight = self.weight.gradient.matrix(self.inputs, self.outputs);
        plan.launch(
            label("weight"),
            Gemm::new(saved.x, dz, d_weight).transpose_a(),
        );

        // dx [rows, inputs] = dz · weightᵀ
        need_dx.then(|| {
            let dx = plan.temporary_matrix(format!("{}.dx", self.name), rows, self.inputs);
            let weight = self.weight.value.matrix(self.inputs, self.outputs);
            plan.launch(label("data"), Gemm::new(dz, weight, dx).transpose_b());
            dx
        })
    }
}
