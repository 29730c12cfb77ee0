//! `diabolo evaluate`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use diabolo::data::draws::Sampling;
use diabolo::evaluate::{summarise, write_csv};
use diabolo::experiment::{self, Subject};
use diabolo::report::RunFolder;

use super::progress::Screen;
use super::{DeviceOptions, Done, Failure, print, refuse_unwritable, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo evaluate runs/mnist-dense-0
  diabolo evaluate runs/mnist-dense-0 --labels 10,20,50 --sampling balanced
  diabolo evaluate runs/mnist-dense-0 --labels 200 --draws 1000 --json")]
pub struct Options {
    /// Folder of a finished run
    run: PathBuf,
    /// Numbers of labelled images, ascending, instead of the recipe's
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    labels: Option<Vec<usize>>,
    /// Draws for each number of labelled images, instead of the recipe's
    #[arg(long, value_name = "N")]
    draws: Option<usize>,
    /// How labelled images are drawn, instead of the recipe's way
    #[arg(long)]
    sampling: Option<SamplingName>,
    #[command(flatten)]
    device: DeviceOptions,
    /// Also write every measured value, one a row, to a file; an older file is replaced
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
    /// Print the rows as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum SamplingName {
    /// Every image is as likely as any other
    Uniform,
    /// The same number of each class
    Balanced,
}

impl From<SamplingName> for Sampling {
    fn from(name: SamplingName) -> Self {
        match name {
            SamplingName::Uniform => Sampling::Uniform,
            SamplingName::Balanced => Sampling::Balanced,
        }
    }
}

pub fn evaluate(options: &Options) -> Result<Done, Failure> {
    if let Some(path) = &options.csv {
        refuse_unwritable(path, true)?;
    }
    let (weights, mut recipe) = RunFolder::existing(&options.run).load_model()?;
    let evaluate = &mut recipe.evaluate;
    evaluate.labels = options.labels.clone().unwrap_or(evaluate.labels.clone());
    evaluate.draws = options.draws.unwrap_or(evaluate.draws);
    evaluate.sampling = options.sampling.map_or(evaluate.sampling, Sampling::from);
    recipe.check(&options.run.join("recipe.toml").display().to_string())?;

    let selected = options.device.open()?;
    let backend = &selected.backend;
    let mut screen = Screen::new()?;
    let data = experiment::load(&recipe, &mut screen)?;
    let subject = Subject {
        recipe: &recipe,
        weights: &weights,
        data: &data,
        backend,
    };
    subject.check()?;
    let features = subject.encode(&mut screen)?;
    let measurements = subject.judge(&features, &mut screen)?;
    if let Some(path) = &options.csv {
        write_csv(path, &measurements)?;
    }
    let rows = summarise(&measurements);
    if options.json {
        print(serde_json::to_string_pretty(&rows)?)?;
    } else {
        print(table::few_label(&rows))?;
        print(table::FEW_LABEL_LEGEND)?;
    }
    Ok(Done::Fully)
}
