//! Groups: parameters that one optimiser updates together.

use super::{Emitter, Parameters};
use crate::buffer::{BufferId, Element, View};
use crate::kernels::adam::{Adam, Hyperparameters};
use crate::plan::PlanBuilder;

/// How a group's parameters follow from their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimiser {
    /// Adam, with bias corrections.
    Adam(Hyperparameters),
}

impl Optimiser {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Optimiser::Adam(_) => "adam",
        }
    }

    /// What it remembers of every parameter.
    fn state(&self) -> &'static [&'static str] {
        match self {
            Optimiser::Adam(_) => &["m", "v"],
        }
    }

    /// Numbers that it takes from the host for every step.
    fn schedule_width(&self) -> usize {
        match self {
            Optimiser::Adam(_) => 2,
        }
    }

    /// Those numbers for step `t` (the first is 1) at a learning rate.
    pub fn schedule_row(&self, t: u64, rate: f64) -> Vec<f64> {
        match self {
            Optimiser::Adam(hyper) => hyper.schedule_row(t, rate).to_vec(),
        }
    }
}

/// Parameters that one optimiser updates together, in one launch.
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
            ends: parameters.ends(),
            name,
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
        }
    }
}
