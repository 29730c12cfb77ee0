//! Batch normalisation with an activation fused behind it: `y = f(γ x̂ + β)`.

use super::{Columns, Init, Layer, Layout, Mode, Parameter, Parameters, Saved};
use crate::buffer::{Matrix, View};
use crate::kernels::Activation;
use crate::kernels::batch_norm::{
    self, Apply, BackwardApply, BackwardFinish, BackwardPartial, Evaluate, Moments, Normaliser,
    Statistics, partial_len,
};
use crate::plan::PlanBuilder;

/// PyTorch's `BatchNorm1d` (and, rows being positions, `BatchNorm2d`), then an activation.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    name: String,
    channels: usize,
    gamma: Parameter,
    beta: Parameter,
    running_mean: View,
    running_var: View,
    activation: Activation,
}

impl BatchNorm {
    /// Declares `{name}.weight` (γ = 1), `{name}.bias` (β = 0), `{name}.running_mean` (0) and
    /// `{name}.running_var` (1).
    pub fn new(
        plan: &mut PlanBuilder,
        parameters: &mut Parameters,
        name: &str,
        columns: impl Into<Columns>,
        activation: Activation,
    ) -> Self {
        let columns = columns.into();
        let channels = columns.count();
        let mut parameter = |what: &str, value: f64| {
            let (name, init) = (format!("{name}.{what}"), Init::Constant(value));
            parameters.parameter(plan, name, channels, Layout::vector(columns), init)
        };
        let (gamma, beta) = (parameter("weight", 1.0), parameter("bias", 0.0));
        let mut running = |what: &str, value: f64| {
            parameters.running(plan, format!("{name}.{what}"), columns, value)
        };
        let (running_mean, running_var) =
            (running("running_mean", 0.0), running("running_var", 1.0));
        BatchNorm {
            name: name.to_owned(),
            channels,
            gamma,
            beta,
            running_mean,
            running_var,
            activation,
        }
    }
}

impl Layer for BatchNorm {
    fn learns(&self) -> bool {
        true
    }

    fn forward(&self, plan: &mut PlanBuilder, x: Matrix, mode: Mode) -> Saved {
        let label = |what: &str| format!("{} forward: {what}", self.name);
        let named = |what: &str| format!("{}.{what}", self.name);
        let c = self.channels;
        let normaliser = Normaliser {
            mean: plan.temporary(named("mean"), c),
            inv_std: plan.temporary(named("inv_std"), c),
        };
        match mode {
            Mode::Training => {
                let partial = plan.temporary(named("moments"), partial_len(x.rows, c));
                plan.launch(label("moments"), Moments { x, partial });
                plan.launch(
                    label("statistics"),
                    Statistics {
                        partial,
                        rows: x.rows,
                        normaliser,
                        running_mean: self.running_mean,
                        running_var: self.running_var,
                    },
                );
            }
            Mode::Evaluation => plan.launch(
                label("running statistics"),
                Evaluate {
                    running_mean: self.running_mean,
                    running_var: self.running_var,
                    normaliser,
                },
            ),
        }
        let y = plan.temporary_matrix(named("y"), x.rows, c);
        plan.launch(
            label("apply"),
            Apply {
                x,
                normaliser,
                gamma: self.gamma.value,
                beta: self.beta.value,
                y,
                activation: self.activation,
            },
        );
        Saved {
            normaliser: Some(normaliser),
            ..Saved::new(x, y)
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
        let named = |what: &str| format!("{}.{what}", self.name);
        let saved = batch_norm::Saved {
            x: saved.x,
            y: saved.y,
            normaliser: saved.normaliser.expect("saved by this layer's forward"),
            activation: self.activation,
        };
        let len = partial_len(dy.rows, self.channels);
        let partial = plan.temporary(named("gradient sums"), len);
        plan.launch(
            label("sums, blocks"),
            BackwardPartial { saved, dy, partial },
        );
        let (d_gamma, d_beta) = (self.gamma.gradient, self.beta.gradient);
        plan.launch(
            label("γ and β"),
            BackwardFinish {
                partial,
                d_gamma,
                d_beta,
            },
        );
        need_dx.then(|| {
            plan.launch(
                label("data"),
                BackwardApply {
                    saved,
                    gamma: self.gamma.value,
                    d_gamma,
                    d_beta,
                    gradient: dy,
                },
            );
            dy
        })
    }
}
