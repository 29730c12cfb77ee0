//! What a training begins with: a new model, a trained one, or a checkpoint.

use crate::machine::memory_limit;
use crate::models::Task;
use crate::recipe::{Recipe, model_of_phase};

use super::{Checkpoint, DataShape, Program, TrainError, Weights};

/// What a trainer begins with.
pub enum Begin {
    /// A new model; parts of it trained, if the recipe's `train.from` says so.
    New,
    /// A model that takes what it can from a trained one, which is of this recipe.
    With(Box<(Weights, Recipe)>),
    /// Where an earlier trainer stopped.
    Checkpoint(Checkpoint),
}

impl From<Option<Checkpoint>> for Begin {
    fn from(checkpoint: Option<Checkpoint>) -> Self {
        checkpoint.map_or(Begin::New, Begin::Checkpoint)
    }
}

/// The programs of phases, which are trained one after the other.
///
/// # Errors
///
/// [`TrainError`] if the batch of a phase is larger than the data set, its layers do not fit the images, its
/// program does not fit the memory, or its model cannot begin with the model of the phase before. A run would
/// find the last one only after the training of the earlier phases.
pub fn plan_phases(phases: &[Recipe], shape: DataShape) -> Result<Vec<Program>, TrainError> {
    let mut programs: Vec<Program> = Vec::new();
    for (index, phase) in phases.iter().enumerate() {
        let (batch, images) = (phase.train.batch, shape.train);
        if batch > images {
            return Err(TrainError::BatchTooLarge { batch, images });
        }
        let program = Program::new(phase, shape, memory_limit())?;
        if let Some(before) = phase_before(phases, index) {
            // Values do not matter, only names and shapes.
            let weights = Weights::initial(&programs[index - 1].tensors, shape.task(), 0);
            let trained = Some((weights, before.clone()));
            first_weights(phase, &program, shape.task(), trained)?;
        }
        programs.push(program);
    }
    Ok(programs)
}

/// The phase before, if the phase at `index` begins with its model, and not with that of another run.
pub(crate) fn phase_before(phases: &[Recipe], index: usize) -> Option<&Recipe> {
    let before = &phases[index.checked_sub(1)?];
    let model = model_of_phase(&before.name);
    (phases[index].train.from == Some(model)).then_some(before)
}

/// The values that a program's model begins with: drawn by the seed, but for the parts that it takes from
/// a trained model.
pub(super) fn first_weights(
    recipe: &Recipe,
    program: &Program,
    task: Task,
    trained: Option<(Weights, Recipe)>,
) -> Result<Weights, TrainError> {
    let mut weights = Weights::initial(&program.tensors, task, recipe.train.seed);
    let (origin, trained) = match (trained, &recipe.train.from) {
        (Some(trained), _) => ("the phase before".to_owned(), trained),
        (None, Some(path)) => {
            let loaded = Weights::load(path).map_err(|source| TrainError::From {
                path: path.to_owned(),
                source: Box::new(source),
            });
            (path.display().to_string(), loaded?)
        }
        (None, None) => return Ok(weights),
    };
    let (trained, of_recipe) = trained;
    let misfit = recipe.model.misfit(&of_recipe.model);
    let taken = misfit.map_or_else(|| weights.take_over(&trained), Err);
    taken.map_err(|reason| TrainError::Begin {
        recipe: recipe.name.clone(),
        origin,
        reason,
    })?;
    Ok(weights)
}
