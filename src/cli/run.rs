//! `diabolo run`

use std::path::PathBuf;

use clap::Args;

use diabolo::experiment::{self, Finished, Outcome, Setting};
use diabolo::recipe::Recipe;
use diabolo::report::{RunFolder, Start};
use diabolo::train::Progress;

use super::progress::Screen;
use super::say::complain;
use super::{DeviceOptions, Done, Failure, print, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo run mnist-dense
  diabolo run mnist-dense --resume             go on where it stopped
  diabolo run my-recipe.toml --out runs/try --device gpu
  diabolo run mnist-dense --epochs 2 --json > summary.json
  diabolo run images-conv --data photographs   your own pictures
  diabolo run huge.toml --window 200           images of 200 steps at a time

The run folder holds recipe.toml, metrics.jsonl, checkpoint.safetensors, model.safetensors, \
features/{train,test}.npy, reconstructions.png, measurements.csv (a row per measured value) and \
summary.json.")]
pub struct Options {
    /// Built-in name (see `diabolo recipes`) or path of a TOML file
    recipe: String,
    /// Folder to write to [default: runs/<recipe>-<seed>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue from the last checkpoint in the folder
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Replace the run that the folder holds
    #[arg(long)]
    force: bool,
    /// Folder, archive or file of the data set, instead of the recipe's `data.path`
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Seed, instead of the recipe's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of epochs, instead of the recipe's
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Numbers of labelled images, ascending, instead of the recipe's
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "N,…",
        conflicts_with = "no_evaluate"
    )]
    labels: Option<Vec<usize>>,
    /// Draws for each number of labelled images, instead of the recipe's
    #[arg(long, value_name = "N", conflicts_with = "no_evaluate")]
    draws: Option<usize>,
    /// Only train and save the model: no features, no pictures, no evaluation
    #[arg(long)]
    no_evaluate: bool,
    /// Number of steps whose training images lie on the device at a time [default: all if they fit, else
    /// 64 MiB of images]. The results are the same for any number
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    window: Option<u32>,
    #[command(flatten)]
    device: DeviceOptions,
    /// Print the summary as JSON on standard output
    #[arg(long)]
    json: bool,
}

impl Options {
    fn recipe(&self) -> Result<Recipe, Failure> {
        let mut recipe = Recipe::load(&self.recipe)?;
        recipe.train.seed = self.seed.unwrap_or(recipe.train.seed);
        recipe.train.epochs = self.epochs.unwrap_or(recipe.train.epochs);
        recipe.data.path = self.data.clone().or(recipe.data.path);
        let evaluate = &mut recipe.evaluate;
        evaluate.labels = self.labels.clone().unwrap_or(evaluate.labels.clone());
        evaluate.draws = self.draws.unwrap_or(evaluate.draws);
        recipe.check(&self.recipe)?;
        Ok(recipe)
    }

    fn start(&self) -> Start {
        match (self.resume, self.force) {
            (true, _) => Start::Resume,
            (_, true) => Start::Force,
            _ => Start::New,
        }
    }
}

pub fn run(options: &Options) -> Result<Done, Failure> {
    let recipe = options.recipe()?;
    let selected = options.device.open()?;
    let default_path = RunFolder::default_path(&recipe);
    let folder = options.out.as_deref().unwrap_or(&default_path);
    let setting = Setting {
        folder: Some(folder),
        start: options.start(),
        window: options.window.map(|steps| steps as usize),
        evaluate: !options.no_evaluate,
        ..Setting::new(&selected.backend)
    };
    let mut screen = Screen::new()?;
    match experiment::run(&recipe, &setting, &mut screen)? {
        Outcome::Finished(finished) => {
            if options.json {
                print(finished.summary.to_json())?;
            } else {
                report(&finished)?;
                print(format!("written to {}", folder.display()))?;
            }
            Ok(Done::Fully)
        }
        Outcome::Interrupted(progress) => {
            complain(options.how_to_go_on(progress, screen.stage().name()));
            Ok(Done::Interrupted)
        }
    }
}

impl Options {
    /// What was interrupted, and what to type.
    fn how_to_go_on(&self, progress: Progress, stage: &str) -> String {
        let out = self.out.as_ref();
        let out = out.map(|out| format!(" --out {}", out.display()));
        let done = match progress.position {
            0 => format!("{} epochs", progress.epoch),
            steps => format!("{} epochs and {steps} steps", progress.epoch),
        };
        format!(
            "interrupted while {stage}, after {done} of training; everything is saved\n\
             hint: to go on: diabolo run {}{} --resume",
            self.recipe,
            out.unwrap_or_default()
        )
    }
}

/// Prints what an experiment came to.
fn report(finished: &Finished) -> Result<(), Failure> {
    let summary = &finished.summary;
    if !summary.few_label.is_empty() {
        print(table::few_label(&summary.few_label))?;
        print(table::FEW_LABEL_LEGEND)?;
    }
    if !summary.denoising.is_empty() {
        print(table::denoising(&summary.denoising))?;
    }
    if let Some(error) = summary.test_error {
        print(format!("test error: {:.2} %", 100.0 * error))?;
    }
    let (loss, seconds) = (summary.loss, summary.seconds);
    print(format!(
        "loss: training {:.5}, held-out {:.5}; trained in {:.1} s, evaluated in {:.1} s\n\
         weights: sha256 {}",
        loss.train, loss.test, seconds.train, seconds.evaluate, summary.weights_sha256,
    ))
}
