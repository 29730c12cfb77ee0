//! Batch normalisation with an activation fused behind it: `y = f(γ x̂ + β)`.

use super::{Layer, assert_fusible};
use crate::buffer::{Matrix, View};
use crate::emit::{Columns, Emitter, Gradient, Init, Layout, Mode, Parameter, Parameters};
use crate::kernels::Activation;
use crate::kernels::batch_norm::{
    self, Apply, BackwardApply, BackwardFinish, BackwardPartial, Evaluate, Moments, Normaliser,
    Statistics, partial_len,
};
use crate::plan::{Pass, PlanBuilder};

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
        assert_fusible(name, activation);
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

/// What [`BatchNorm`] saves.
#[derive(Debug)]
pub struct Saved {
    kernels: batch_norm::Saved,
    mode: Mode,
}

impl Layer for BatchNorm {
    type Saved = Saved;

    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Saved) {
        let e = &mut e.at(&self.name, Pass::Forward);
        let c = self.channels;
        let normaliser = Normaliser {
            mean: e.reals("mean", c),
            inv_std: e.reals("inv_std", c),
        };
        match e.mode() {
            Mode::Training => {
                let partial = e.reals("moments", partial_len(x.rows, c));
                e.launch("moments", Moments { x, partial });
                e.launch(
                    "statistics",
                    Statistics {
                        partial,
                        rows: x.rows,
                        normaliser,
                        running_mean: self.running_mean,
                        running_var: self.running_var,
                    },
                );
            }
            Mode::Evaluation => e.launch(
                "running statistics",
                Evaluate {
                    running_mean: self.running_mean,
                    running_var: self.running_var,
                    normaliser,
                },
            ),
        }
        let y = e.matrix("y", x.rows, c);
        e.launch(
            "apply",
            Apply {
                x,
                normaliser,
                gamma: self.gamma.value,
                beta: self.beta.value,
                y,
                activation: self.activation,
            },
        );
        let kernels = batch_norm::Saved {
            x,
            y,
            normaliser,
            activation: self.activation,
        };
        let mode = e.mode();
        (y, Saved { kernels, mode })
    }

    fn backward(&self, e: &mut Emitter, saved: Saved, dy: Gradient) -> Gradient {
        let e = &mut e.at(&self.name, Pass::Backward);
        let (saved, mode) = (saved.kernels, saved.mode);
        let gradient = dy.matrix();
        let partial = e.reals("gradient sums", partial_len(gradient.rows, self.channels));
        e.launch(
            "sums, blocks",
            BackwardPartial {
                saved,
                dy: gradient,
                partial,
            },
        );
        let sums = e.learn([self.gamma, self.beta], |e, [d_gamma, d_beta]| {
            e.launch(
                "γ and β",
                BackwardFinish {
                    partial,
                    d_gamma,
                    d_beta,
                },
            );
        });
        // Running statistics do not depend on x: nothing comes back through them.
        let [d_gamma, d_beta] = match mode {
            Mode::Training => sums,
            Mode::Evaluation => [e.zeros(self.channels); 2],
        };
        e.launch(
            "data",
            BackwardApply {
                saved,
                gamma: self.gamma.value,
                d_gamma,
                d_beta,
                gradient,
            },
        );
        dy
    }
}
