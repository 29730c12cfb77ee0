//! `diabolo lockstep`

use std::path::PathBuf;

use clap::Args;

use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::experiment;
use diabolo::gradcheck::Named;
use diabolo::lockstep::{Divergence, Participant, Report, run};
use diabolo::plan::PlanBuilder;
use diabolo::recipe::Recipe;
use diabolo::train::Silent;
use diabolo::train::Trainer;

use super::{Done, Failure, Usage, backend, print, progress, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo lockstep mnist-dense --devices cpu-f64,cpu-f32   what rounding does
  diabolo lockstep mnist-conv --devices cpu-f32,gpu --steps 1
  diabolo lockstep mnist-conv --devices gpu-naive,gpu      loops against tiles
  diabolo lockstep mnist-conv --devices cpu-matrixmultiply,cpu
  diabolo lockstep mnist-dense --devices gpu,gpu-checked   every index checked

Every launch is judged on its own: cpu-f64 computes it from the very inputs that the device had. The \
first launch that is off by more than rounding of its sums explains is named, with the worst element \
and both values. If all are right, tables show how far the devices come apart, and through which \
kernels.

Exit codes: 0 every launch is right, 1 one is not.")]
pub struct Options {
    /// A built-in recipe, or a file
    recipe: String,
    /// Two of cpu-f64, cpu-f32, cpu-matrixmultiply, gpu, gpu-checked, gpu-naive, or part of an adapter's
    /// name
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1..=2)]
    devices: Vec<String>,
    /// Training steps
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    steps: u16,
    /// Folder, archive or file of the data set, instead of the recipe's `data.path`
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Also print every launch of the last step
    #[arg(long)]
    launches: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

pub fn lockstep(options: &Options) -> Result<Done, Failure> {
    let [one, other] = &options.devices[..] else {
        let message = "--devices takes two devices\nhint: --devices cpu-f64,gpu";
        return Err(Usage(message.to_owned()).into());
    };
    let devices = [backend(one)?, backend(other)?];
    let judged = |device: &Named| !matches!(device.backend, Backend::CpuDouble(_));
    if !devices.iter().any(judged) {
        let message = "cpu-f64 is the judge: one device at least must be another\n\
                       hint: --devices cpu-f32,gpu";
        return Err(Usage(message.to_owned()).into());
    }
    let mut recipe = Recipe::load_last_phase(&options.recipe)?;
    if let Some(path) = &options.data {
        recipe.data.path = Some(path.clone());
        recipe.check("with --data")?;
    }
    let steps = usize::from(options.steps);
    let mut data = experiment::load(&recipe, &mut Silent)?;
    let images = steps * recipe.train.batch;
    if data.train.count < images {
        return Err(format!(
            "{steps} steps of {} images are more than the {} there are\nhint: give fewer --steps",
            recipe.train.batch, data.train.count
        )
        .into());
    }
    data.truncate(images, 1);
    let trainer = |backend: &Backend| {
        // Launches run one by one: nothing would bring a next window.
        let (plan, window) = (PlanBuilder::new(), Some(steps));
        Trainer::in_plan(
            plan,
            &recipe,
            data.training(),
            data.held_out(),
            backend,
            None,
            window,
        )
    };
    let participants = devices.map(|device| -> Result<Participant, Failure> {
        Ok(Participant {
            trainer: trainer(&device.backend)?,
            judged: judged(&device),
            name: device.name,
        })
    });
    let [one, other] = participants;
    let judge = trainer(&Backend::CpuDouble(Cpu::<f64>::team(0)?))?;

    let launches = judge.program().plan.launches(judge.program().train).len();
    let bar = progress::bar("comparing", (steps * launches) as u64);
    let report = run([one?, other?], judge, steps, |done| {
        bar.set_position(done as u64)
    })?;
    bar.finish_and_clear();

    if options.json {
        print(serde_json::to_string_pretty(&report)?)?;
    } else {
        show(&report, options.launches)?;
    }
    match &report.divergence {
        None => Ok(Done::Fully),
        Some(divergence) => Err(describe(divergence).into()),
    }
}

fn show(report: &Report, launches: bool) -> Result<(), Failure> {
    let Some(last) = report.steps.last() else {
        return Ok(());
    };
    print(table::lockstep_steps(report))?;
    print(table::wrapped(&table::lockstep_launches_of(last)))?;
    print(table::lockstep_kernels(report))?;
    if launches {
        let of_last = report
            .launches
            .iter()
            .filter(|launch| launch.step == last.step);
        print(table::lockstep_launches(report, of_last))?;
    }
    print(table::LOCKSTEP_LEGEND)?;
    Ok(())
}

fn describe(divergence: &Divergence) -> String {
    let Divergence {
        step,
        device,
        launch,
        kernel,
        shapes,
        operand,
        buffer,
        element,
        ..
    } = divergence;
    format!(
        "step {step} on {device}: the first launch that is wrong is `{launch}`, kernel {kernel} \
         ({shapes}): element {element} of `{operand}` (buffer `{buffer}`) is {:e}, and f64 makes {:e} \
         of the same inputs, with {:.1e} allowed",
        divergence.got, divergence.expected, divergence.tolerance
    )
}
