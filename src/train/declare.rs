//! A recipe's model and its optimisers, declared in a plan.

use crate::buffer::View;
use crate::emit::{Emission, Group, Role, Tensor};
use crate::models::{Model, ModelError, Task};
use crate::plan::PlanBuilder;
use crate::recipe::Recipe;

/// A model and its groups.
#[derive(Debug)]
pub struct Declared {
    /// The plan.
    pub emission: Emission,
    /// The model.
    pub model: Box<dyn Model>,
}

impl Declared {
    /// Declares a recipe's model, and a group with its optimiser for each part that learns, scheduled
    /// for `steps` steps.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if the layers do not fit the task.
    pub fn new(
        plan: PlanBuilder,
        recipe: &Recipe,
        task: Task,
        steps: usize,
    ) -> Result<Declared, ModelError> {
        let mut emission = Emission::new(plan, recipe.train.seed);
        let model = recipe
            .model
            .build(&mut emission.plan, task, &recipe.train.learn)?;
        for parameters in model.learnt() {
            let optimiser = recipe.train.optimiser();
            let group = Group::new(&mut emission.plan, parameters, optimiser, steps);
            emission.add_group(group.with_clip(recipe.train.clip_norm));
        }
        Ok(Declared { emission, model })
    }
}

/// A model's tensors in order of declaration.
pub fn tensors(model: &dyn Model) -> Vec<Tensor> {
    let parts = model.parameters().into_iter();
    parts.flat_map(|part| part.tensors.clone()).collect()
}

/// What the optimisers remember of each parameter: named `adam.m.encoder.0.weight`, say, and laid out as
/// the parameter is.
pub(super) fn optimiser_state(groups: &[Group], tensors: &[Tensor]) -> Vec<Tensor> {
    let mut state = Vec::new();
    for group in groups {
        let learnt = tensors.iter().filter(|tensor| {
            tensor.role == Role::Parameter && tensor.value.buffer == group.parameters
        });
        for tensor in learnt {
            state.extend(
                group
                    .state_of(tensor.value)
                    .map(|(name, value): (_, View)| Tensor {
                        name: format!("{name}.{}", tensor.name),
                        value,
                        ..tensor.clone()
                    }),
            );
        }
    }
    state
}
