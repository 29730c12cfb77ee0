//! Groups: parameters that one optimiser updates together.

use super::{Emitter, Parameters};
use crate::buffer::{BufferId, Element, View};
use crate::kernels::adam::{self, Adam};
use crate::kernels::norm_clip;
use crate::kernels::sgd::{self, Sgd};
use crate::plan::{Pass, PlanBuilder};

/// How a group's parameters follow from their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimiser {
    /// Adam with bias corrections; AdamW if it has a weight decay.
    Adam(adam::Hyperparameters),
    /// Gradient descent, with or without momentum.
    Sgd(sgd::Hyperparameters),
}

impl Optimiser {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Optimiser::Adam(_) => "adam",
            Optimiser::Sgd(_) => "sgd",
        }
    }

    /// What it remembers of every parameter.
    fn state(&self) -> &'static [&'static str] {
        match self {
            Optimiser::Adam(_) => &["m", "v"],
            Optimiser::Sgd(_) => &["v"],
        }
    }

    /// Numbers that it takes from the host for every step.
    fn schedule_width(&self) -> usize {
        self.schedule_row(1, 0.0).len()
    }

    /// Those numbers for step `t` (the first is 1) at a learning rate.
    pub fn schedule_row(&self, t: u64, rate: f64) -> Vec<f64> {
        match self {
            Optimiser::Adam(hyper) => hyper.schedule_row(t, rate).to_vec(),
            Optimiser::Sgd(_) => vec![rate],
        }
    }
}

/// Parameters that one optimiser updates together, in one launch, three more if gradients are clipped.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name in labels and buffers: the optimiser's, and the parameters' if they have one.
    pub name: String,
    /// The buffer of its parameters.
    pub parameters: BufferId,
    /// Values of all parameters.
    values: View,
    /// Their gradients, at the same offsets.
    gradients: View,
    /// What the optimiser remembers, `adam.m`, say, at the same offsets.
    pub state: Vec<(String, View)>,
    /// `[steps, numbers]` from the host.
    pub schedule: View,
    /// How they are updated.
    pub optimiser: Optimiser,
    /// The largest norm of their gradients that is not clipped.
    clip: Option<f64>,
    /// Where each tensor ends, the last one with the last parameter.
    ends: Vec<usize>,
}

impl Group {
    /// Declares the optimiser's state and its schedule of `steps` steps.
    pub fn new(
        plan: &mut PlanBuilder,
        parameters: &Parameters,
        optimiser: Optimiser,
        steps: usize,
    ) -> Group {
        let mut name = optimiser.name().to_owned();
        if !parameters.name.is_empty() {
            name = format!("{}.{name}", parameters.name);
        }
        let values = plan.whole(parameters.values);
        let state = optimiser.state().iter().map(|what| {
            let buffer = format!("{name}.{what}");
            let view = plan.persistent(buffer.clone(), Element::Real, values.len);
            (buffer, view)
        });
        let state = state.collect();
        let rows = steps * optimiser.schedule_width();
        Group {
            schedule: plan.persistent(format!("{name}.schedule"), Element::Real, rows),
            parameters: parameters.values,
            values,
            gradients: plan.whole(parameters.gradients),
            state,
            optimiser,
            clip: None,
            ends: parameters.ends(),
            name,
        }
    }

    /// The same group with its gradients scaled down to a norm of `limit` wherever it is larger.
    pub fn with_clip(self, limit: Option<f64>) -> Group {
        Group {
            clip: limit,
            ..self
        }
    }

    /// Where the optimiser's state of a parameter lies, in the order of [`state`](Self::state).
    pub fn state_of(&self, value: View) -> impl Iterator<Item = (&str, View)> {
        let at = value.offset - self.values.offset;
        let part = move |whole: View| whole.part(at, value.len);
        self.state
            .iter()
            .map(move |(name, whole)| (name.as_str(), part(*whole)))
    }

    /// Appends the update.
    pub(super) fn update(&self, e: &mut Emitter, clock: View) {
        if let Some(limit) = self.clip {
            self.emit_clip(&mut e.at("clip", Pass::Update), limit);
        }
        match self.optimiser {
            Optimiser::Adam(hyper) => e.launch(
                "",
                Adam {
                    parameters: self.values,
                    gradients: self.gradients,
                    mean: self.state[0].1,
                    variance: self.state[1].1,
                    schedule: self.schedule,
                    clock,
                    hyper,
                    ends: self.ends.clone(),
                },
            ),
            Optimiser::Sgd(hyper) => e.launch(
                "",
                Sgd {
                    parameters: self.values,
                    gradients: self.gradients,
                    velocity: self.state[0].1,
                    schedule: self.schedule,
                    clock,
                    hyper,
                    ends: self.ends.clone(),
                },
            ),
        }
    }

    fn emit_clip(&self, e: &mut Emitter, limit: f64) {
        let gradients = self.gradients;
        let partial = e.reals("partial", gradients.len.div_ceil(norm_clip::BLOCK));
        let [norm, factor] = ["norm", "factor"].map(|what| e.reals(what, 1));
        e.launch("blocks", norm_clip::Partial { gradients, partial });
        e.launch(
            "norm",
            norm_clip::Finish {
                partial,
                limit,
                norm,
                factor,
            },
        );
        e.launch("scale", norm_clip::Scale { gradients, factor });
    }
}
