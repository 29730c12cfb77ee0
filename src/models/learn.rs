//! Which parts of a model learn: the parameters of the others lie apart, in no group that is updated.

use super::ModelError;
use crate::emit::{Emitter, Parameters};
use crate::plan::PlanBuilder;

/// The parameters of a model: those that learn, and those that are frozen.
#[derive(Debug)]
pub struct Learning {
    /// Names of the parts that learn; all of them if there is no name.
    parts: Vec<String>,
    frozen: Option<Parameters>,
    learnt: Parameters,
}

impl Learning {
    /// Empty buffers for a model whose parts have the names `known`, of which the parts `learn` learn: all
    /// of them if none is named.
    ///
    /// # Errors
    ///
    /// [`ModelError::Part`] if the model has no part of such a name.
    pub fn new(
        plan: &mut PlanBuilder,
        known: &'static [&'static str],
        learn: &[String],
    ) -> Result<Learning, ModelError> {
        if let Some(asked) = unknown_part(known, learn) {
            let asked = asked.to_owned();
            return Err(ModelError::Part { asked, known });
        }
        let mut learning = Learning {
            parts: learn.to_vec(),
            frozen: None,
            learnt: Parameters::new(plan),
        };
        let frozen = known.iter().filter(|part| !learning.learns(part));
        let frozen: Vec<&str> = frozen.copied().collect();
        if !frozen.is_empty() {
            learning.frozen = Some(Parameters::named(plan, &frozen.join("+")));
        }
        Ok(learning)
    }

    fn learns(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|p| p == part)
    }

    /// Where a part declares its parameters.
    pub fn of(&mut self, part: &str) -> &mut Parameters {
        let learns = self.learns(part);
        match &mut self.frozen {
            Some(frozen) if !learns => frozen,
            _ => &mut self.learnt,
        }
    }

    /// The emitter for the forward of a part: layers that are frozen use their running statistics and
    /// leave them as they are.
    pub fn emitter<'e>(&self, e: &'e mut Emitter, part: &str) -> Emitter<'e> {
        if self.learns(part) {
            e.reborrow()
        } else {
            e.frozen()
        }
    }

    /// All parameters: the frozen ones, if any, and those that learn.
    pub fn all(&self) -> Vec<&Parameters> {
        self.frozen.iter().chain([&self.learnt]).collect()
    }

    /// The parameters that learn.
    pub fn learnt(&self) -> &Parameters {
        &self.learnt
    }
}

/// The first of the parts `learn` that a model has not, whose parts have the names `known`.
pub(crate) fn unknown_part<'a>(known: &[&str], learn: &'a [String]) -> Option<&'a str> {
    let is_unknown = |part: &&String| !known.contains(&part.as_str());
    learn.iter().find(is_unknown).map(String::as_str)
}
