//! `[[phase]]`: a recipe that trains several times, each time beginning with the model of the time before.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{Recipe, RecipeError, resolve};

/// One `[[phase]]`: what it does otherwise than the recipe's own tables say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Names the phase, and its folder.
    pub name: String,
    /// Keys of `[model]`.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub model: Table,
    /// Keys of `[noise]`.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub noise: Table,
    /// Keys of `[train]`.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub train: Table,
}

/// Where the model of a phase is, seen from the folder of its run.
pub fn model_of_phase(name: &str) -> PathBuf {
    Path::new("phases").join(name).join("model.safetensors")
}

impl Recipe {
    /// The recipes that are trained one after the other: one for each phase, or this one if it has none.
    /// The last has this one's name, the others have the names of their phases.
    ///
    /// All but the first begin with the model of the one before, unless they say `train.from`: it is then
    /// [`model_of_phase`], and lies in the run's folder, if there is one.
    ///
    /// # Errors
    ///
    /// [`RecipeError`] if a phase says something wrong.
    pub fn in_phases(&self, origin: &str) -> Result<Vec<Recipe>, RecipeError> {
        if self.phases.is_empty() {
            return Ok(vec![self.clone()]);
        }
        let mut whole = self.clone();
        whole.phases.clear();
        let whole: Table = toml::from_str(&whole.to_toml()).expect("a recipe's own TOML");
        let last = self.phases.len() - 1;
        let phases = self.phases.iter().enumerate().map(|(index, phase)| {
            let origin = format!("{origin}, phase {}", phase.name);
            if index > 0 && self.phases[..index].iter().any(|p| p.name == phase.name) {
                return Err(RecipeError::Value {
                    origin,
                    key: "phase.name",
                    value: format!("{:?}", phase.name),
                    expected: "a name that no other phase has".to_owned(),
                    hint: "name = \"fine-tune\"".to_owned(),
                });
            }
            let tables = [
                ("model", &phase.model),
                ("noise", &phase.noise),
                ("train", &phase.train),
            ];
            let over = tables.map(|(key, table)| (key.to_owned(), Value::Table(table.clone())));
            let mut merged = resolve::merge(whole.clone(), over.into_iter().collect());
            // The recipe's own `train.from` is what its first phase begins with.
            if index > 0
                && !phase.train.contains_key("from")
                && let Some(Value::Table(train)) = merged.get_mut("train")
            {
                let path = model_of_phase(&self.phases[index - 1].name);
                let path = path.display().to_string();
                train.insert("from".to_owned(), Value::String(path));
            }
            let name = if index == last {
                &self.name
            } else {
                &phase.name
            };
            merged.insert("name".to_owned(), Value::String(name.clone()));
            let text = toml::to_string(&merged).expect("tables of TOML");
            Recipe::parse(&origin, &text)
        });
        phases.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
name = "two"
extends = "mnist-dense"
[[phase]]
name = "pretrain"
[phase.train]
epochs = 3
[[phase]]
name = "classify"
[phase.model]
kind = "classifier"
hidden = [512, 512, 512]
code = 24
[phase.noise]
gaussian = 0.1
[phase.train]
learn = ["head"]
"#;

    #[test]
    fn each_phase_says_what_differs_from_the_recipe() {
        let recipe = Recipe::parse("two.toml", TWO).expect("right");
        let base = Recipe::load("mnist-dense").expect("right");
        let [first, second] = &recipe.in_phases("two.toml").expect("right")[..] else {
            panic!("two phases");
        };
        assert_eq!(
            (first.name.as_str(), second.name.as_str()),
            ("pretrain", "two")
        );
        assert_eq!(
            (first.train.epochs, second.train.epochs),
            (3, base.train.epochs)
        );
        assert_eq!(
            (first.model.kind(), second.model.kind()),
            ("autoencoder", "classifier")
        );
        assert_eq!(first.noise, base.noise);
        assert_eq!(
            (second.noise.gaussian, second.noise.shift),
            (0.1, base.noise.shift)
        );
        let again = Recipe::parse("again", &recipe.to_toml()).expect("right");
        assert_eq!(again, recipe);
    }

    #[test]
    fn what_is_wrong_in_a_phase_is_an_error_that_names_the_phase() {
        for (from, to, parts) in [
            ("epochs = 3", "epoch = 3", ["phase pretrain", "epoch = 3"]),
            (
                "epochs = 3",
                "epochs = 0",
                ["phase pretrain", "train.epochs = 0"],
            ),
            (
                "[phase.noise]",
                "[phase.data]",
                ["two.toml", "unknown field `data`"],
            ),
            (
                "[\"head\"]",
                "[\"decoder\"]",
                ["phase classify", "encoder, head"],
            ),
            (
                "\"classify\"",
                "\"pretrain\"",
                ["phase.name", "no other phase"],
            ),
            // The first phase has nothing before it to begin with.
            (
                "epochs = 3",
                "learn = [\"encoder\"]",
                ["phase pretrain", "train.from"],
            ),
        ] {
            assert!(TWO.contains(from), "{from}");
            let error = Recipe::parse("two.toml", &TWO.replacen(from, to, 1));
            let message = error.expect_err("wrong").to_string();
            assert!(
                parts.iter().all(|part| message.contains(part)),
                "{to}: {message}"
            );
        }
    }
}
