//! One file per subcommand.

mod bench;
mod data;
mod denoise;
mod devices;
mod encode;
mod evaluate;
mod gradcheck;
mod import;
mod lockstep;
mod plan;
mod progress;
mod recipes;
mod run;
mod say;
mod scaling;
mod shape;
mod shell;
mod table;
mod trace;

use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::GpuOptions;
use diabolo::device::{Backend, Choice, Selected, select, select_with};
use diabolo::files::folder_of;
use diabolo::gradcheck::Named;

use say::Loudness;

/// Denoising autoencoders from the kernel up: train on unlabelled images, then classify with few
/// labels.
#[derive(Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  diabolo run mnist-dense                  train and judge, on the bundled MNIST
  diabolo run mnist-dense --seed 1 --json  another seed; the summary as JSON
  diabolo data list                        what there is to learn from
  diabolo devices                          what there is to compute on
  diabolo evaluate runs/mnist-dense-0      judge a trained model again
  diabolo import model.safetensors --recipe mnist-dense --out runs/torch
  diabolo gradcheck                        check every hand-written gradient
  diabolo lockstep mnist-dense --devices cpu-f64,gpu
  diabolo plan mnist-dense                 every launch of a training step
  diabolo bench step --batch 1,16,128      time training steps
  diabolo trace mnist-dense                where a step spends its time

Exit codes: 0 done, 1 an error (one message on standard error), 2 wrong usage, 130 interrupted."
)]
struct Cli {
    /// Print only errors on standard error
    #[arg(
        long,
        short,
        global = true,
        conflicts_with = "verbose",
        display_order = 900
    )]
    quiet: bool,
    /// Print more on standard error, for example every noted value after each epoch
    #[arg(long, short, global = true, display_order = 900)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a recipe, extract features, compare few-label k-NN on pixels and on features
    Run(run::Options),
    /// List, show, check and explain recipes
    Recipes(recipes::Options),
    /// List the devices, and which one `auto` takes
    Devices(devices::Options),
    /// List, describe, fetch, draw and make data sets
    Data(data::Options),
    /// Turn images into features with a trained model
    Encode(encode::Options),
    /// Remove the noise of images with a trained model
    Denoise(denoise::Options),
    /// Judge a trained model's features with few labels
    Evaluate(evaluate::Options),
    /// Import a model that PyTorch trained, as a run
    Import(import::Options),
    /// Check every hand-written gradient, on every device
    Gradcheck(gradcheck::Options),
    /// Run the same training steps on two devices and compare them launch by launch
    Lockstep(lockstep::Options),
    /// Print a recipe's plan: buffers, launches, and the launches that were dropped
    Plan(plan::Options),
    /// Time kernels, training steps, nearest neighbours and the ladder of matrix products
    Bench(bench::Options),
    /// Time each launch of a training step, and compare it with what the machine can do
    Trace(trace::Options),
    /// Measure how time and memory grow with batch, width, data, references and labels
    Scaling(scaling::Options),
    /// Print what a shell needs to complete the commands
    Completions(shell::CompletionOptions),
    /// Write manual pages
    Man(shell::ManOptions),
}

/// Where to compute.
#[derive(Args)]
struct DeviceOptions {
    /// auto, cpu, cpu-matrixmultiply (matrix products by that crate), gpu, or part of an adapter's name
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: Choice,
    /// CPU threads; 0 means one per core. The results are the same for any number
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(..=4096))]
    threads: u16,
}

impl DeviceOptions {
    /// Opens the device and says on standard error which one it is, and why.
    fn open(&self) -> Result<Selected, Failure> {
        let selected = select(&self.device, self.threads.into())?;
        say::say(format!("device: {}", selected.reason));
        Ok(selected)
    }
}

/// A device by its exact name: `cpu-f64`, `cpu-f32`, `cpu-matrixmultiply` (matrix products by the crate),
/// `gpu`, `gpu-checked` (the driver checks every index), `gpu-naive` (matrix products by plain loops), or
/// part of an adapter's name. Says on standard error which adapter that is.
fn backend(name: &str) -> Result<Named, Failure> {
    let checked = GpuOptions {
        checked: true,
        ..GpuOptions::default()
    };
    let (name, backend) = match name {
        "cpu-f64" => (name, Backend::CpuDouble(Cpu::<f64>::team(0)?)),
        "cpu-f32" | "cpu" => ("cpu-f32", Backend::Cpu(Cpu::<f32>::team(0)?)),
        "cpu-matrixmultiply" => (name, Backend::CpuMatrixmultiply(Cpu::<f32>::team(0)?)),
        "" | "auto" => {
            let known = "cpu-f64, cpu-f32, cpu-matrixmultiply, gpu, gpu-naive, gpu-checked or part \
                 of an adapter's name";
            return Err(Usage(format!(
                "no device `{name}` to check on: expected {known}\nhint: --device cpu-f64"
            ))
            .into());
        }
        _ => {
            let (choice, options) = match name {
                "gpu-checked" => (Choice::Gpu, checked),
                "gpu-naive" => (Choice::Gpu, GpuOptions::naive()),
                name => (name.parse()?, GpuOptions::default()),
            };
            let selected = select_with(&choice, 0, options)?;
            say::say(format!("{name}: {}", selected.reason));
            (name, selected.backend)
        }
    };
    let name = name.to_owned();
    Ok(Named { name, backend })
}

/// Any error; its message is whole on its own.
type Failure = Box<dyn Error>;

/// Arguments that make no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Errors if there is something at `path` already, unless it is to be replaced.
fn refuse_to_replace(path: &Path, force: bool) -> Result<(), Failure> {
    if path.exists() && !force {
        let path = path.display();
        return Err(
            format!("{path} is there already\nhint: choose another name, or --force").into(),
        );
    }
    Ok(())
}

/// Errors if no file can be put at `path`, before any work is done for it.
fn refuse_unwritable(path: &Path, force: bool) -> Result<(), Failure> {
    refuse_to_replace(path, force)?;
    let folder = folder_of(path);
    match folder.is_dir() {
        true => Ok(()),
        false => Err(format!(
            "{} is no folder to write to\nhint: make it first",
            folder.display()
        )
        .into()),
    }
}

/// Writes a line to standard output. A reader that has gone away (`diabolo recipes | head -1`) wants
/// no more, which is no error.
fn print(text: impl Display) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The exit code of a command that was interrupted.
const INTERRUPTED: u8 = 130;

/// Whether a command was stopped, as asked, rather than failed.
fn is_interruption(failure: &Failure) -> bool {
    let error = failure.downcast_ref::<diabolo::Error>();
    error.is_some_and(diabolo::Error::is_interruption)
}

/// What a command came to.
enum Done {
    /// All it was asked.
    Fully,
    /// Interrupted, with everything saved.
    Interrupted,
}

/// Parses the arguments, runs the command, and turns errors into one message and a code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    say::set(match (cli.quiet, cli.verbose) {
        (true, _) => Loudness::Quiet,
        (_, true) => Loudness::Verbose,
        _ => Loudness::Usual,
    });
    let done = match cli.command {
        Command::Run(options) => run::run(&options),
        Command::Recipes(options) => recipes::recipes(&options),
        Command::Devices(options) => devices::devices(&options),
        Command::Data(options) => data::data(&options),
        Command::Encode(options) => encode::encode(&options),
        Command::Denoise(options) => denoise::denoise(&options),
        Command::Evaluate(options) => evaluate::evaluate(&options),
        Command::Import(options) => import::import(&options),
        Command::Gradcheck(options) => gradcheck::gradcheck(&options),
        Command::Lockstep(options) => lockstep::lockstep(&options),
        Command::Plan(options) => plan::plan(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Trace(options) => trace::run(&options),
        Command::Scaling(options) => scaling::scaling(&options),
        Command::Completions(options) => shell::completions(&options, Cli::command()),
        Command::Man(options) => shell::man(&options, Cli::command()),
    };
    match done {
        Ok(Done::Fully) => ExitCode::SUCCESS,
        Ok(Done::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(failure) if is_interruption(&failure) => {
            say::complain("interrupted; nothing was written");
            ExitCode::from(INTERRUPTED)
        }
        Err(failure) => {
            say::complain(format!("error: {failure}"));
            ExitCode::from(if failure.is::<Usage>() { 2 } else { 1 })
        }
    }
}
