//! Whether the values of a recipe make sense, each by itself and beside the others.

use super::{Recipe, RecipeError, hint};
use crate::models::unknown_part;

impl Recipe {
    /// Checks every value's range, of every phase; `origin` is named in errors.
    pub fn check(&self, origin: &str) -> Result<(), RecipeError> {
        self.check_values(origin)?;
        self.in_phases(origin).map(|_| ())
    }

    /// The same without its phases.
    fn check_values(&self, origin: &str) -> Result<(), RecipeError> {
        let wrong = |key: &'static str, value: String, expected: &str| {
            Err(RecipeError::Value {
                origin: origin.to_owned(),
                key,
                value,
                expected: expected.to_owned(),
                hint: hint::example(key).to_owned(),
            })
        };
        self.data.check().map_err(|source| RecipeError::Data {
            origin: origin.to_owned(),
            hint: hint::of_data(&source),
            source: Box::new(source),
        })?;
        let name_fits = !self.name.is_empty()
            && self
                .name
                .chars()
                .all(|c| c.is_alphanumeric() || "-_.".contains(c))
            && !self.name.starts_with('.');
        if !name_fits {
            let expected = "letters, digits, `-`, `_` and `.`: it names a folder";
            return wrong("name", format!("{:?}", self.name), expected);
        }
        if let Some((key, value, expected)) = self.model.wrong() {
            return wrong(key, value, expected);
        }
        let gaussian = self.noise.gaussian;
        if !(gaussian.is_finite() && gaussian >= 0.0) {
            return wrong("noise.gaussian", gaussian.to_string(), "σ ≥ 0");
        }
        for (key, value, most) in [
            ("noise.shift", self.noise.shift, 1e4),
            ("noise.rotation", self.noise.rotation, 89.0),
            ("noise.scale", self.noise.scale, 0.9),
            ("noise.shear", self.noise.shear, 10.0),
        ] {
            if !(0.0..=most).contains(&value) {
                return wrong(key, value.to_string(), &format!("0 to {most}"));
            }
        }
        if !(0.0..1.0).contains(&self.noise.masking) {
            let value = self.noise.masking.to_string();
            return wrong("noise.masking", value, "a probability, 0 ≤ p < 1");
        }
        let train = &self.train;
        if train.epochs == 0 || train.epochs > 1_000_000 {
            return wrong(
                "train.epochs",
                train.epochs.to_string(),
                "1 to 1000000 epochs",
            );
        }
        if train.batch < 2 || train.batch > 1 << 20 {
            let expected = "2 to 1048576 images: batch norm needs two to have a variance";
            return wrong("train.batch", train.batch.to_string(), expected);
        }
        if !(train.learning_rate.is_finite() && train.learning_rate > 0.0) {
            return wrong(
                "train.learning_rate",
                train.learning_rate.to_string(),
                "α > 0",
            );
        }
        if let Some((key, value, expected)) = train.wrong() {
            return wrong(key, value, expected);
        }
        if train.warmup_steps > 1_000_000 {
            let value = train.warmup_steps.to_string();
            return wrong("train.warmup_steps", value, "at most 1000000 steps");
        }
        let parts = self.model.parts();
        if let Some(part) = unknown_part(parts, &train.learn) {
            let expected = format!("names among {}", parts.join(", "));
            return wrong("train.learn", format!("[{part:?}]"), &expected);
        }
        if !train.learn.is_empty() && train.from.is_none() {
            let expected =
                "`train.from` beside it: a part that is not trained has to be a trained one";
            return wrong("train.learn", format!("{:?}", train.learn), expected);
        }
        // TOML's integers are signed.
        if train.seed > i64::MAX as u64 {
            return wrong("train.seed", train.seed.to_string(), "a seed below 2⁶³");
        }
        let evaluate = &self.evaluate;
        let labels = &evaluate.labels;
        if labels.first() == Some(&0) || !labels.is_sorted_by(|a, b| a < b) {
            let value = format!("{labels:?}");
            return wrong("evaluate.labels", value, "positive numbers, ascending");
        }
        if labels.len() > crate::kernels::nearest::MAX_SIZES {
            let value = format!("{labels:?}");
            return wrong("evaluate.labels", value, "at most 8 numbers");
        }
        if evaluate.draws == 0 || evaluate.draws > 10_000 {
            return wrong(
                "evaluate.draws",
                evaluate.draws.to_string(),
                "1 to 10000 draws",
            );
        }
        let levels = &evaluate.noise_levels;
        if levels.len() > 16
            || levels
                .iter()
                .any(|&level| !(level.is_finite() && level > 0.0))
        {
            let value = format!("{levels:?}");
            return wrong("evaluate.noise_levels", value, "at most 16 numbers σ > 0");
        }
        Ok(())
    }
}
