//! Training, phase by phase: each begins with the model of the one before.

use crate::Error;
use crate::data::Dataset;
use crate::plan::PlanBuilder;
use crate::recipe::Recipe;
use crate::report::{RunFolder, Start};
use crate::train::{
    self, Begin, DataShape, EpochRecord, Metrics, Progress, TrainError, Trainer, Weights,
    phase_before, plan_phases,
};

use super::describe::describe_plan;
use super::{Setting, Stage, Watch};

/// How training ended.
pub(super) enum Trained {
    Finished(Box<Model>),
    Interrupted(Progress),
}

/// A trained model.
pub(super) struct Model {
    /// What the last phase trained.
    pub(super) recipe: Recipe,
    pub(super) weights: Weights,
    /// Of the last phase.
    pub(super) epochs: Vec<EpochRecord>,
    pub(super) progress: Progress,
}

/// Trains all phases of a recipe, and saves their models if there is a folder.
pub(super) fn train(
    recipe: &Recipe,
    setting: &Setting<'_>,
    data: &Dataset,
    folder: Option<&RunFolder>,
    watch: &mut dyn Watch,
) -> Result<Trained, Error> {
    let phases = recipe.in_phases(&recipe.name)?;
    let folders = folders(&phases, folder);
    let resumes = setting.start == Start::Resume;
    let mut checkpoints = Vec::new();
    for (phase, folder) in phases.iter().zip(&folders) {
        let resumed = folder.as_ref().filter(|_| resumes);
        let checkpoint = resumed.map(|folder| folder.checkpoint_of(phase));
        checkpoints.push(checkpoint.transpose()?.flatten());
    }
    // A mistake in a later phase should not cost the training of an earlier one.
    if phases.len() > 1 {
        plan_phases(&phases, DataShape::of(&data.training(), &data.held_out()))?;
    }

    let mut before: Option<Box<Model>> = None;
    for (index, (phase, checkpoint)) in phases.iter().zip(checkpoints).enumerate() {
        let begin = match (checkpoint, before) {
            (Some(checkpoint), _) => Begin::Checkpoint(checkpoint),
            (None, Some(model)) if phase_before(&phases, index).is_some() => {
                Begin::With(Box::new((model.weights, model.recipe)))
            }
            (None, _) => Begin::New,
        };
        let is_new = !matches!(begin, Begin::Checkpoint(_));
        let trainer = Trainer::in_plan(
            PlanBuilder::new(),
            phase,
            data.training(),
            data.held_out(),
            setting.backend,
            begin,
            setting.window,
        )?;
        if phases.len() > 1 {
            watch.says(&format!(
                "phase {} of {}: {}",
                index + 1,
                phases.len(),
                phase.name
            ));
        }
        watch.says(&describe_plan(&trainer));
        // Everything that can be wrong with the recipe has been found by now.
        if let Some(folder) = folder.filter(|_| index == 0) {
            if resumes {
                folder.write_recipe(recipe)?;
            } else {
                folder.begin(recipe)?;
            }
        }
        let own = folders[index].as_ref();
        if let Some(own) = own.filter(|_| is_new && index + 1 < phases.len()) {
            own.begin(phase)?;
        }
        match train_one(phase, trainer, own, watch)? {
            Trained::Finished(model) => before = Some(model),
            Trained::Interrupted(progress) => return Ok(Trained::Interrupted(progress)),
        }
    }
    Ok(Trained::Finished(before.expect("a recipe has a phase")))
}

/// Where each phase is kept: the last in the run's own folder.
fn folders(phases: &[Recipe], folder: Option<&RunFolder>) -> Vec<Option<RunFolder>> {
    let last = phases.len() - 1;
    let of_phase = |(index, phase): (usize, &Recipe)| {
        let folder = folder?;
        let is_last = index == last;
        Some(if is_last {
            folder.clone()
        } else {
            folder.phase(&phase.name)
        })
    };
    phases.iter().enumerate().map(of_phase).collect()
}

/// Trains one phase to its end.
fn train_one(
    recipe: &Recipe,
    mut trainer: Trainer,
    folder: Option<&RunFolder>,
    watch: &mut dyn Watch,
) -> Result<Trained, Error> {
    let progress = trainer.progress();
    let mut metrics = match folder {
        Some(folder) => Metrics::open(&folder.metrics(), progress.epoch)?,
        None => Metrics::default(),
    };
    watch.stage(Stage::Training {
        epochs: recipe.train.epochs,
        steps: trainer.steps(),
        batch: recipe.train.batch,
        step: progress.step,
    });
    let checkpoint = folder.map(RunFolder::checkpoint);
    let outcome = trainer.run(checkpoint.as_deref(), &mut metrics, watch);
    watch.stage_finished();
    if let train::Outcome::Interrupted(progress) = outcome? {
        return Ok(Trained::Interrupted(progress));
    }
    let weights = trainer.weights().map_err(TrainError::from)?;
    let progress = trainer.progress();
    if let Some(folder) = folder {
        let saved = weights.save(&folder.model(), recipe, progress.step);
        saved.map_err(TrainError::from)?;
    }
    Ok(Trained::Finished(Box::new(Model {
        recipe: recipe.clone(),
        weights,
        epochs: metrics.records().to_vec(),
        progress,
    })))
}
