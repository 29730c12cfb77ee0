//! Experiments: train, encode, judge, write. A subcommand parses, calls and prints; a comparison calls
//! this many times.
//!
//! ```no_run
//! use diabolo::device::{Choice, select};
//! use diabolo::experiment::{self, Outcome, Setting};
//! use diabolo::recipe::Recipe;
//! use diabolo::train::Silent;
//!
//! let recipe = Recipe::load("mnist-dense")?;
//! let device = select(&Choice::Auto, 0)?;
//! let setting = Setting::new(&device.backend); // nothing is written
//! if let Outcome::Finished(finished) = experiment::run(&recipe, &setting, &mut Silent)? {
//!     println!("{:#?}", finished.summary.few_label);
//! }
//! # Ok::<(), diabolo::Error>(())
//! ```

mod describe;
mod evaluation;
mod phases;
mod watch;

pub use evaluation::Subject;
pub use watch::{Stage, Watch, staged};

use std::borrow::Cow;
use std::path::Path;
use std::time::Instant;

use crate::data::{self, Dataset};
use crate::device::Backend;
use crate::evaluate::{Features, FewLabel, Labels, Measurement, Origin, summarise, write_csv};
use crate::objective::ERROR;
use crate::recipe::Recipe;
use crate::report::{LossPair, RunFolder, Seconds, Start, Summary};
use crate::train::{EpochRecord, Progress, TrainError, Weights};
use crate::{Error, ErrorKind};

use describe::describe_data;
use evaluation::Evaluation;
use phases::Trained;

/// Where and how a recipe is run.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The device.
    pub backend: &'a Backend,
    /// Images to learn from; those that the recipe names if none are given.
    pub data: Option<&'a Dataset>,
    /// The folder to write to; nothing is written if none is given.
    pub folder: Option<&'a Path>,
    /// What becomes of a run that the folder holds.
    pub start: Start,
    /// Steps whose images are on the device at a time; as many as fit if none is given.
    pub window: Option<usize>,
    /// Whether the trained model is evaluated: encoded, restored and judged.
    pub evaluate: bool,
}

impl<'a> Setting<'a> {
    /// The recipe's own data, on a device; everything is evaluated and nothing is written.
    pub fn new(backend: &'a Backend) -> Setting<'a> {
        Setting {
            backend,
            data: None,
            folder: None,
            start: Start::New,
            window: None,
            evaluate: true,
        }
    }
}

/// How an experiment ended.
#[derive(Debug)]
pub enum Outcome {
    /// All is done.
    Finished(Box<Finished>),
    /// It was stopped, with training so far. If it has a folder, everything up to here is saved there.
    Interrupted(Progress),
}

/// What an experiment came to.
#[derive(Debug)]
pub struct Finished {
    /// The result, as it is written to `summary.json`.
    pub summary: Summary,
    /// Every measured value, as in `measurements.csv`.
    pub measurements: Vec<Measurement>,
    /// What is known after each epoch, as in `metrics.jsonl`.
    pub epochs: Vec<EpochRecord>,
    /// The trained model.
    pub weights: Weights,
    /// Features of the training and of the test images, if they were encoded.
    pub features: Option<[Features; 2]>,
}

/// Runs a recipe: trains, encodes, restores, judges, and writes all of it to the setting's folder.
///
/// # Errors
///
/// [`Error`] if the recipe does not fit its data, the folder holds a run already, files cannot be read or
/// written, a loss is not finite, or the device fails. Nothing is written before the recipe, the data and
/// the folder are known to fit.
pub fn run(
    recipe: &Recipe,
    setting: &Setting<'_>,
    watch: &mut dyn Watch,
) -> Result<Outcome, Error> {
    let began = Instant::now();
    let data = match setting.data {
        Some(data) => {
            check(recipe, data)?;
            Cow::Borrowed(data)
        }
        None => Cow::Owned(load(recipe, watch)?),
    };
    for line in describe_data(&data) {
        watch.says(&line);
    }
    // Before any work: a number of labels that cannot be drawn should not cost a training run.
    few_label(recipe).groups(Labels::from(&*data))?;

    let folder = setting
        .folder
        .map(|path| RunFolder::open(path, setting.start));
    let folder = folder.transpose()?;
    let began_training = Instant::now();
    let trained = match phases::train(recipe, setting, &data, folder.as_ref(), watch)? {
        Trained::Finished(trained) => trained,
        Trained::Interrupted(progress) => return Ok(Outcome::Interrupted(progress)),
    };
    let train_seconds = began_training.elapsed().as_secs_f64();
    let began_evaluating = Instant::now();
    let subject = Subject {
        recipe: &trained.recipe,
        weights: &trained.weights,
        data: &data,
        backend: setting.backend,
    };
    let evaluation = match setting.evaluate {
        true => subject.evaluate(folder.as_ref(), watch),
        false => Ok(Evaluation::default()),
    };
    let mut evaluation = match evaluation {
        Err(error) if error.is_interruption() => {
            return Ok(Outcome::Interrupted(trained.progress));
        }
        evaluation => evaluation?,
    };

    let last = trained.epochs.last().ok_or(TrainError::NoEpochs)?;
    let test_error = last.notes.held_out.get(ERROR).copied();
    let measured =
        test_error.map(|error| origin(&trained.recipe).measured("classes", "error", error));
    evaluation.measurements.extend(measured);
    let info = setting.backend.info();
    let summary = Summary {
        recipe: recipe.name.clone(),
        device: info.kind.to_owned(),
        adapter: info.adapter.clone(),
        seed: recipe.train.seed,
        epochs: trained.recipe.train.epochs,
        loss: LossPair {
            train: last.train_loss,
            test: last.test_loss,
        },
        test_error,
        notes: last.notes.clone(),
        few_label: summarise(&evaluation.measurements),
        denoising: evaluation.denoising,
        seconds: Seconds {
            train: train_seconds,
            evaluate: began_evaluating.elapsed().as_secs_f64(),
            total: began.elapsed().as_secs_f64(),
        },
        weights_sha256: trained.weights.sha256(),
    };
    if let Some(folder) = &folder {
        write_csv(&folder.measurements(), &evaluation.measurements)?;
        summary.save(&folder.summary())?;
    }
    Ok(Outcome::Finished(Box::new(Finished {
        summary,
        measurements: evaluation.measurements,
        epochs: trained.epochs,
        weights: trained.weights,
        features: evaluation.features,
    })))
}

/// The recipe's data set, read and cut to the size it asks for.
///
/// # Errors
///
/// [`Error`] if the data set is missing, damaged or too large, or if it has no
/// labels and the recipe asks for some.
pub fn load(recipe: &Recipe, watch: &mut dyn Watch) -> Result<Dataset, Error> {
    let data = staged(watch, Stage::Reading, |_| {
        data::load(&recipe.data, recipe.train.seed)
    })?;
    check(recipe, &data)?;
    Ok(data)
}

/// Errors if the recipe asks for labels that the data set has not.
fn check(recipe: &Recipe, data: &Dataset) -> Result<(), Error> {
    let labels = &recipe.evaluate.labels;
    if data.is_labelled() || labels.is_empty() {
        return Ok(());
    }
    Err(ErrorKind::Unlabelled {
        recipe: recipe.name.clone(),
        labels: labels.clone(),
        data: data.name.clone(),
    }
    .into())
}

/// What the measurements of a recipe have in common.
fn origin(recipe: &Recipe) -> Origin {
    Origin {
        system: recipe.name.clone(),
        seed: recipe.train.seed,
        fold: None,
    }
}

/// Which labelled images a recipe's judges see.
fn few_label(recipe: &Recipe) -> FewLabel {
    FewLabel {
        labels: recipe.evaluate.labels.clone(),
        draws: recipe.evaluate.draws,
        sampling: recipe.evaluate.sampling,
        seed: recipe.train.seed,
    }
}
