//! `[train]`: how the model learns.

use serde::{Deserialize, Serialize};

use crate::emit::Optimiser;
use crate::kernels::adam::Hyperparameters;

/// `[train]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Adam's α.
    pub learning_rate: f64,
    /// How α changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// Steps over which the rate first rises from 0, linearly: large rates want small first steps.
    #[serde(default)]
    pub warmup_steps: usize,
    /// Seeds initial weights, shuffles, noise and label draws.
    #[serde(default)]
    pub seed: u64,
}

/// How the learning rate changes over the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It does not.
    #[default]
    Constant,
    /// Half a cosine, from α after the warm-up to 0 (Loshchilov and Hutter, “SGDR”, 2017, without restarts).
    Cosine,
}

impl Train {
    /// How parameters follow from their gradients.
    pub fn optimiser(&self) -> Optimiser {
        Optimiser::Adam(Hyperparameters::default())
    }

    /// Learning rate of step `done` (from 0) of `total`.
    pub fn rate(&self, done: u64, total: u64) -> f64 {
        let warmup = self.warmup_steps as u64;
        let scheduled = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let part =
                    done.saturating_sub(warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
                0.5 * (1.0 + (std::f64::consts::PI * part).cos())
            }
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
    fn a_warm_up_rises_to_alpha_in_a_line() {
        let mut train = Recipe::load("reference-dense").expect("valid").train;
        train.warmup_steps = 10;
        train.learning_rate = 2.0;
        let rates = [0, 4, 9, 10, 99].map(|done| train.rate(done, 100));
        assert_eq!(rates, [0.2, 1.0, 2.0, 2.0, 2.0]);
    }
}
