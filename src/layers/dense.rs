//! Dense: `y = f(x · weight + bias)`.

use super::{
    Columns, Init, Layer, Layout, Mode, Parameter, Parameters, Saved, activate_backward, sum_rows,
};
use crate::buffer::Matrix;
use crate::kernels::Activation;
use crate::kernels::gemm::Gemm;
use crate::plan::PlanBuilder;

/// A fully connected layer with an activation fused behind it.
///
/// Before a batch norm it has no bias: the norm subtracts the mean, and the bias with it.
#[derive(Clone, Debug)]
pub struct Dense {
    name: String,
    inputs: usize,
    outputs: Columns,
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
        [inputs, outputs]: [impl Into<Columns>; 2],
        gain: f64,
    ) -> Self {
        let (columns, outputs) = (inputs.into(), outputs.into());
        let inputs = columns.count();
        let weight = parameters.parameter(
            plan,
            format!("{name}.weight"),
            inputs * outputs.count(),
            Layout::dense(columns, outputs),
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
        let (layout, init) = (Layout::vector(self.outputs), Init::Constant(0.0));
        let bias = parameters.parameter(plan, name, self.outputs.count(), layout, init);
        Dense {
            bias: Some(bias),
            activation,
            ..self
        }
    }
}

impl Layer for Dense {
    fn learns(&self) -> bool {
        true
    }

    fn forward(&self, plan: &mut PlanBuilder, x: Matrix, _mode: Mode) -> Saved {
        let y = plan.temporary_matrix(format!("{}.y", self.name), x.rows, self.outputs.count());
        let weight = self.weight.value.matrix(self.inputs, self.outputs.count());
        plan.launch(
            format!("{} forward", self.name),
            Gemm {
                bias: self.bias.map(|bias| bias.value),
                activation: self.activation,
                ..Gemm::new(x, weight, y)
            },
        );
        Saved::new(x, y)
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

        // dz = dy · f′(y), z = x · weight + bias;  d_bias = Σ rows of dz
        let dz = activate_backward(plan, &self.name, self.activation, saved.y, dy);
        if let Some(bias) = self.bias {
            sum_rows(plan, &self.name, dz, bias.gradient);
        }

        // d_weight [inputs, outputs] = xᵀ · dz
        let d_weight = self
            .weight
            .gradient
            .matrix(self.inputs, self.outputs.count());
        plan.launch(
            label("weight"),
            Gemm::new(saved.x, dz, d_weight).transpose_a(),
        );

        // dx [rows, inputs] = dz · weightᵀ
        need_dx.then(|| {
            let dx = plan.temporary_matrix(format!("{}.dx", self.name), rows, self.inputs);
            let weight = self.weight.value.matrix(self.inputs, self.outputs.count());
            plan.launch(label("data"), Gemm::new(dz, weight, dx).transpose_b());
            dx
        })
    }
}
