//! `diabolo run`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Args;

use diabolo::data::{self, Dataset, Images, npy};
use diabolo::device::Backend;
use diabolo::evaluate::{
    Denoising, Features, FewLabel, Row, Rows, denoising, few_label, normalise,
};
use diabolo::kernels::gather::Noise;
use diabolo::kernels::random::Streams;
use diabolo::kernels::warp::Warp;
use diabolo::models::Use;
use diabolo::objective::ERROR;
use diabolo::plan::PlanBuilder;
use diabolo::recipe::Recipe;
use diabolo::report::{LossPair, RunFolder, Seconds, Start, Summary, write_reconstructions};
use diabolo::train::{Inference, Metrics, Outcome, Trainer, Weights, noise};

use super::progress::{TrainingBar, bar};
use super::{DeviceOptions, Done, Failure, print, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo run mnist-dense
  diabolo run mnist-dense --resume           go on after an interrupt or a crash, to the same bits
  diabolo run my-recipe.toml --out runs/try --device gpu
  diabolo run mnist-dense --epochs 2 --json > summary.json
  diabolo run images-conv --data photographs   a folder of your own pictures
  diabolo run huge.toml --window 200           images for 200 steps at a time on the device

The run folder holds recipe.toml, metrics.jsonl, checkpoint.safetensors, model.safetensors,
features/{train,test}.npy, reconstructions.png and summary.json.")]
pub struct Options {
    /// Built-in name (see `diabolo recipes`) or path of a TOML file
    recipe: String,
    /// Folder to write to [default: runs/<recipe>-<seed>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on from the folder's last checkpoint
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Replace the run that the folder holds
    #[arg(long)]
    force: bool,
    /// Instead of the recipe's `data.path`: a folder, an archive or a file, as its data set has it
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Instead of the recipe's seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Instead of the recipe's number of epochs
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Training images on the device at a time, in steps [default: all that fit, else 64 MiB]. The
    /// results are the same for any number
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
        recipe.check("with --data, --seed and --epochs")?;
        Ok(recipe)
    }
}

pub fn run(options: &Options) -> Result<Done, Failure> {
    let began = Instant::now();
    let recipe = options.recipe()?;
    let selected = options.device.open()?;
    let data = load(&recipe)?;
    // Before any work: a label count that cannot be drawn should not cost a training run.
    few_label_setting(&recipe).check(&data.train_labels, data.classes)?;

    let path = options
        .out
        .clone()
        .unwrap_or_else(|| RunFolder::default_path(&recipe));
    let start = match (options.resume, options.force) {
        (true, _) => Start::Resume,
        (_, true) => Start::Force,
        _ => Start::New,
    };
    let (folder, checkpoint) = RunFolder::open(&path, &recipe, start)?;

    let backend = &selected.backend;
    let resumed = checkpoint.is_some();
    let trainer = Trainer::in_plan(
        PlanBuilder::new(),
        &recipe,
        data.training(),
        data.held_out(),
        backend,
        checkpoint,
        options.window.map(|steps| steps as usize),
    )?;
    eprintln!("{}", describe(&trainer));
    // Everything that can be wrong with the recipe has been found by now.
    if !resumed {
        folder.begin(&recipe)?;
    }
    let Some((weights, seconds_training)) = train(options, &recipe, trainer, &folder)? else {
        return Ok(Done::Interrupted);
    };
    let began_evaluating = Instant::now();
    let noises = [vec![noise(&recipe, Streams::EVALUATION)], levels(&recipe)].concat();
    let mut inference = Inference::new(&recipe, &weights, backend, &noises)?;
    let [train, test] = encode(&mut inference, &data)?;
    for (features, path) in [
        (&train, folder.features("train")),
        (&test, folder.features("test")),
    ] {
        npy::write_matrix(&path, features.count(), features.width, &features.values)?;
    }
    let mut denoising = Vec::new();
    if inference.uses().contains(&Use::Restore) {
        let pictures = folder.reconstructions();
        write_reconstructions(&pictures, &data.test, &data.test_labels, &mut inference)?;
        denoising = restore(&mut inference, &noises[1..], &data.test)?;
    }
    drop(inference);
    let setting = few_label_setting(&recipe);
    let few_label = judge(&recipe, &setting, &data, backend, [train, test])?;

    let last = Metrics::read(&folder.metrics()).pop();
    let last = last.ok_or("metrics.jsonl has lost its last line: run again with --force")?;
    let info = backend.info();
    let summary = Summary {
        recipe: recipe.name.clone(),
        device: info.kind.to_owned(),
        adapter: info.adapter.clone(),
        seed: recipe.train.seed,
        epochs: recipe.train.epochs,
        loss: LossPair {
            train: last.train_loss,
            test: last.test_loss,
        },
        test_error: last.notes.held_out.get(ERROR).copied(),
        notes: last.notes,
        few_label,
        denoising,
        seconds: Seconds {
            train: seconds_training,
            evaluate: began_evaluating.elapsed().as_secs_f64(),
            total: began.elapsed().as_secs_f64(),
        },
        weights_sha256: weights.sha256(),
    };
    summary.save(&folder.summary())?;
    if options.json {
        print(summary.to_json())?;
    } else {
        if !summary.few_label.is_empty() {
            print(table::few_label(&summary.few_label))?;
        }
        if !summary.denoising.is_empty() {
            print(table::denoising(&summary.denoising))?;
        }
        let (loss, seconds) = (summary.loss, summary.seconds);
        print(format!(
            "loss: training {:.5}, held-out {:.5}; trained in {:.1} s, evaluated in {:.1} s\n\
             weights: sha256 {}\nwritten to {}",
            loss.train,
            loss.test,
            seconds.train,
            seconds.evaluate,
            summary.weights_sha256,
            folder.path.display()
        ))?;
    }
    Ok(Done::Fully)
}

/// Gaussian noise alone, at each level at which denoising is measured.
fn levels(recipe: &Recipe) -> Vec<Noise> {
    let levels = recipe.evaluate.noise_levels.iter();
    let noise = levels.map(|&gaussian| Noise {
        warp: Warp::default(),
        gaussian,
        masking: 0.0,
        seed: recipe.train.seed,
        streams: Streams::EVALUATION,
    });
    noise.collect()
}

/// How well `levels`, which follow the recipe's own noise in `inference`, are removed.
fn restore(
    inference: &mut Inference,
    levels: &[Noise],
    images: &Images,
) -> Result<Vec<Denoising>, Failure> {
    const RESOLUTION: f64 = 1000.0;
    let levels: Vec<(usize, f32)> = (1..)
        .zip(levels.iter().map(|level| level.gaussian))
        .collect();
    let bar = bar("denoising", RESOLUTION as u64);
    let progress = |done| bar.set_position((RESOLUTION * done) as u64);
    let rows = denoising(inference, &levels, images, &progress)?;
    bar.finish_and_clear();
    Ok(rows)
}

/// One line on what a training step amounts to.
fn describe(trainer: &Trainer) -> String {
    let program = trainer.program();
    let plan = &program.plan;
    let cost = plan.cost(program.train);
    let windows = match trainer.is_streamed() {
        true => format!(
            "; training images come in windows of {} of {} steps",
            program.window, program.steps
        ),
        false => String::new(),
    };
    format!(
        "plan: {} launches a step, {:.2} GFLOP, {:.0} MB of traffic; {:.0} MB of memory{windows}",
        plan.launches(program.train).len(),
        cost.flops as f64 / 1e9,
        (cost.read + cost.written) as f64 / 1e6,
        plan.memory.bytes() as f64 / 1e6
    )
}

/// The recipe's data set, cut to the size it asks for.
pub fn load(recipe: &Recipe) -> Result<Dataset, Failure> {
    let data = data::load(&recipe.data, recipe.train.seed)?;
    if !data.is_labelled() && !recipe.evaluate.labels.is_empty() {
        let (name, labels) = (&recipe.name, &recipe.evaluate.labels);
        return Err(format!(
            "recipe {name}: `evaluate.labels = {labels:?}`: expected `[]`, because the data set \
             {} has no labels to classify with",
            data.name
        )
        .into());
    }
    Ok(data)
}

/// What the recipe wants measured.
pub fn few_label_setting(recipe: &Recipe) -> FewLabel {
    FewLabel {
        labels: recipe.evaluate.labels.clone(),
        draws: recipe.evaluate.draws,
        sampling: recipe.evaluate.sampling,
        seed: recipe.train.seed,
    }
}

/// Trains to the end. Returns the weights and the seconds it took; none if interrupted, with
/// everything saved.
fn train(
    options: &Options,
    recipe: &Recipe,
    mut trainer: Trainer,
    folder: &RunFolder,
) -> Result<Option<(Weights, f64)>, Failure> {
    let began = Instant::now();
    let progress = trainer.progress();
    let mut metrics = Metrics::open(&folder.metrics(), progress.epoch)?;
    let epochs = recipe.train.epochs;
    let mut observer = TrainingBar::new(epochs, trainer.steps(), recipe.train.batch, progress.step);
    let interrupt = interrupt()?;
    let outcome = trainer.run(
        &folder.checkpoint(),
        &mut metrics,
        &mut observer,
        &interrupt,
    );
    observer.finish();
    if let Outcome::Interrupted(progress) = outcome? {
        let out = options.out.as_ref();
        let out = out
            .map(|out| format!(" --out {}", out.display()))
            .unwrap_or_default();
        eprintln!(
            "interrupted after {} epochs and {} steps; everything is saved. To go on:\n  \
             diabolo run {}{out} --resume",
            progress.epoch, progress.position, options.recipe
        );
        return Ok(None);
    }
    let weights = trainer.weights()?;
    weights.save(&folder.model(), recipe, trainer.progress().step)?;
    Ok(Some((weights, began.elapsed().as_secs_f64())))
}

/// A flag that Ctrl-C raises; a second Ctrl-C ends the program at once.
fn interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let raised = Arc::new(AtomicBool::new(false));
    let flag = raised.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nfinishing the step and saving; Ctrl-C again to leave at once");
    })?;
    Ok(raised)
}

/// Features of the training and the test images.
pub fn encode(inference: &mut Inference, data: &Dataset) -> Result<[Features; 2], Failure> {
    let width = inference.width(Use::Encode)?;
    let bar = bar("encoding", (data.train.count + data.test.count) as u64);
    let mut features = |images, first: usize| -> Result<Features, Failure> {
        let values = inference.apply(Use::Encode, images, |done| {
            bar.set_position((first + done) as u64);
        })?;
        Ok(Features { width, values })
    };
    let pair = [
        features(&data.train, 0)?,
        features(&data.test, data.train.count)?,
    ];
    bar.finish_and_clear();
    Ok(pair)
}

/// Few-label accuracies of pixels and of features.
pub fn judge(
    recipe: &Recipe,
    setting: &FewLabel,
    data: &Dataset,
    backend: &Backend,
    [mut train, mut test]: [Features; 2],
) -> Result<Vec<Row>, Failure> {
    const RESOLUTION: f64 = 1000.0;
    normalise(recipe.evaluate.normalise, &mut train, &mut test);
    let bar = bar("judging", RESOLUTION as u64);
    let rows = few_label(
        backend,
        [(&data.train, &data.test), (&train, &test)],
        (&data.train_labels, &data.test_labels),
        data.classes,
        setting,
        &|done| bar.set_position((RESOLUTION * done) as u64),
    )?;
    bar.finish_and_clear();
    Ok(rows)
}
