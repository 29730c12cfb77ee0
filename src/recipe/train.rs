//! `[train]`: how the model learns.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::emit::Optimiser;
use crate::kernels::{adam, sgd};
use crate::models::Wrong;

/// `[train]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// How many times the training goes through all training images.
    pub epochs: usize,
    /// Images in a training step.
    pub batch: usize,
    /// How parameters are updated from their gradients.
    #[serde(default)]
    pub optimiser: OptimiserName,
    /// The learning rate α (step size) before warm-up and schedule.
    pub learning_rate: f64,
    /// Weight decay λ: each step shrinks every parameter by α·λ of itself. Only with `adamw` and `sgd`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub weight_decay: f64,
    /// Momentum μ: the part of the last update that the next one keeps. Only with `sgd`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub momentum: f64,
    /// Nesterov's momentum in the place of the plain one. Only with `sgd` and a momentum.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nesterov: bool,
    /// Gradient clipping: if the norm of all gradients together is larger than this, they are scaled down
    /// to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// How the learning rate changes over the run.
    #[serde(default)]
    pub schedule: Schedule,
    /// The part of the run, from 0 to 1, after which the learning rate begins to fall. Only with
    /// `schedule = "linear"`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decay_from: f64,
    /// Steps over which the learning rate first rises linearly from 0.
    #[serde(default)]
    pub warmup_steps: usize,
    /// A `model.safetensors` of another run, whose tensors the model begins with: those of every part
    /// (`encoder`, `decoder`, `head`) that both models have. A relative path starts at the recipe file's
    /// folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// The parts of the model that are trained: `encoder`, `decoder`, `head`. The others stay as they are,
    /// also the running statistics of their batch norms. Without this key all parts are trained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learn: Vec<String>,
    /// Decides everything that is drawn at random: initial weights, the order of images, noise, labelled
    /// images.
    #[serde(default)]
    pub seed: u64,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// How parameters follow from their gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimiserName {
    /// Adam (Kingma and Ba, 2015), with PyTorch's defaults.
    #[default]
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW,
    /// Stochastic gradient descent, with or without momentum.
    Sgd,
}

/// How the learning rate changes over the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The learning rate stays as it is.
    #[default]
    Constant,
    /// The learning rate falls from α to 0 along half a cosine (Loshchilov and Hutter, “SGDR”, 2017, without restarts).
    Cosine,
    /// The learning rate stays at α up to `decay_from` of the run, then falls linearly to 0.
    Linear,
}

impl Train {
    /// How parameters follow from their gradients.
    pub fn optimiser(&self) -> Optimiser {
        let weight_decay = self.weight_decay;
        match self.optimiser {
            OptimiserName::Adam => Optimiser::Adam(adam::Hyperparameters::default()),
            OptimiserName::AdamW => Optimiser::Adam(adam::Hyperparameters {
                weight_decay,
                ..adam::Hyperparameters::default()
            }),
            OptimiserName::Sgd => Optimiser::Sgd(sgd::Hyperparameters {
                momentum: self.momentum,
                nesterov: self.nesterov,
                weight_decay,
            }),
        }
    }

    /// The first value that is out of range, or that the optimiser or the schedule does not take.
    pub(super) fn wrong(&self) -> Option<Wrong> {
        let parts = [
            ("train.weight_decay", self.weight_decay, f64::MAX, "λ ≥ 0"),
            ("train.momentum", self.momentum, 1.0, "0 ≤ μ < 1"),
            (
                "train.decay_from",
                self.decay_from,
                1.0,
                "a part of the run, 0 ≤ p < 1",
            ),
        ];
        for (key, value, below, expected) in parts {
            if !(value >= 0.0 && value < below) {
                return Some((key, value.to_string(), expected));
            }
        }
        let is_sgd = self.optimiser == OptimiserName::Sgd;
        if self.optimiser == OptimiserName::Adam && self.weight_decay > 0.0 {
            let expected = "`optimiser = \"adamw\"` or `\"sgd\"` beside it";
            return Some((
                "train.weight_decay",
                self.weight_decay.to_string(),
                expected,
            ));
        }
        if !is_sgd && self.momentum > 0.0 {
            let expected = "`optimiser = \"sgd\"` beside it: Adam has its own";
            return Some(("train.momentum", self.momentum.to_string(), expected));
        }
        if self.nesterov && !(is_sgd && self.momentum > 0.0) {
            let expected = "`optimiser = \"sgd\"` and a momentum beside it";
            return Some(("train.nesterov", "true".to_owned(), expected));
        }
        if self.decay_from > 0.0 && self.schedule != Schedule::Linear {
            let expected = "`schedule = \"linear\"` beside it";
            return Some(("train.decay_from", self.decay_from.to_string(), expected));
        }
        match self.clip_norm {
            Some(norm) if !(norm.is_finite() && norm > 0.0) => {
                Some(("train.clip_norm", norm.to_string(), "a norm > 0"))
            }
            _ => None,
        }
    }

    /// Learning rate of step `done` (from 0) of `total`.
    pub fn rate(&self, done: u64, total: u64) -> f64 {
        let warmup = self.warmup_steps as u64;
        // The part of the run that is done, counted from the end of the warm-up.
        let part = done.saturating_sub(warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
        let scheduled = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * part).cos()),
            Schedule::Linear if part <= self.decay_from => 1.0,
            Schedule::Linear => (1.0 - part) / (1.0 - self.decay_from),
        };
        let risen = match warmup {
            0 => 1.0,
            _ => ((done + 1) as f64 / warmup as f64).min(1.0),
        };
        self.learning_rate * scheduled * risen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn the_cosine_schedule_starts_at_alpha_and_ends_near_zero() {
        let mut train = Recipe::load("reference-dense").expect("valid").train;
        train.schedule = Schedule::Cosine;
        train.learning_rate = 2.0;
        assert_eq!(train.rate(0, 100), 2.0);
        assert!((train.rate(50, 100) - 1.0).abs() < 1e-12);
        assert!(train.rate(99, 100) < 1e-3);
    }

    #[test]
    fn the_linear_schedule_is_constant_and_then_falls_in_a_line_to_0() {
        let mut train = Recipe::load("reference-dense").expect("valid").train;
        train.schedule = Schedule::Linear;
        train.learning_rate = 2.0;
        train.decay_from = 0.5;
        let rates = [0, 50, 75, 100].map(|done| train.rate(done, 100));
        assert_eq!(rates, [2.0, 2.0, 1.0, 0.0]);
        assert!(train.rate(51, 100) < 2.0);
    }

    #[test]
    fn keys_of_another_optimiser_are_errors_with_a_hint() {
        let mut train = Recipe::load("reference-dense").expect("valid").train;
        assert_eq!(train.wrong(), None);
        train.weight_decay = 0.1;
        let (key, value, expected) = train.wrong().expect("Adam's gradients do not decay");
        assert_eq!((key, value.as_str()), ("train.weight_decay", "0.1"));
        assert!(expected.contains("optimiser = \"adamw\""), "{expected}");
        train.optimiser = OptimiserName::AdamW;
        assert_eq!(train.wrong(), None);
        train.nesterov = true;
        assert_eq!(train.wrong().expect("no momentum").0, "train.nesterov");
        train.nesterov = false;
        train.clip_norm = Some(0.0);
        assert_eq!(
            train.wrong().expect("nothing would be left").0,
            "train.clip_norm"
        );
    }

    #[test]
    fn a_warm_up_rises_to_alpha_in_a_line() {
        let mut train = Recipe::load("reference-dense").expect("valid").train;
        train.warmup_steps = 10;
        train.learning_rate = 2.0;
        let rates = [0, 4, 9, 10, 99].map(|done| train.rate(done, 100));
        assert_eq!(rates, [0.2, 1.0, 2.0, 2.0, 2.0]);
    }
}
