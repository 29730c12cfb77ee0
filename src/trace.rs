//! Trace: where a training step spends its time, launch by launch.
//!
//! Every launch is timed by the device's own clock, many steps over, and its median set against what
//! this machine can do at best ([`crate::ceilings`]). In between, whole steps run as training runs
//! them; the difference between such a step and the sum of its launches is what no launch accounts
//! for: handing over work, waiting, and the price of timing itself.
//!
//! The images are random bytes: no kernel's time depends on them, and none need be at hand.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use statrs::statistics::{Data, OrderStatistics};

use crate::buffer::{BufferId, Cost, Operand, View};
use crate::ceilings::Ceilings;
use crate::data::{Examples, Images, Pixels};
use crate::device::gpu::Counters;
use crate::device::{Backend, Device, DeviceError, HostData, Timing};
use crate::image::ImageShape;
use crate::machine::memory_limit;
use crate::plan::{Launch, RoutineId};
use crate::recipe::Recipe;
use crate::train::{DataShape, Program, TrainError, Trainer};

/// Steps per epoch of the program that is traced: the most that run at once.
const EPOCH: usize = 8;
/// How long untraced steps run before traced ones take over, and the other way round: long enough
/// for the caches and the clock to settle, short enough for both to meet the same machine.
const TURN: Duration = Duration::from_millis(20);
/// How long to trace where no number of steps is given.
const LONG_ENOUGH: Duration = Duration::from_secs(2);
/// Fewest steps then.
const FEWEST: usize = 5;
/// Consecutive steps kept whole.
const TIMELINE: usize = 4;

/// What some work costs, how long it took, and how that compares. Where it took no time that the
/// device's clock shows, rates are infinite (`null` in JSON).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// FLOPs, bytes read and bytes written.
    #[serde(flatten)]
    pub cost: Cost,
    /// Median time.
    pub seconds: f64,
    /// 10⁹ FLOPs per second.
    pub gflops: f64,
    /// 10⁹ bytes, read or written, per second.
    pub gbytes_per_s: f64,
    /// FLOPs per byte.
    pub intensity: f64,
    /// Seconds that it takes at least, by the measured ceilings.
    pub floor_seconds: f64,
    /// `floor_seconds` in percent of `seconds`.
    pub pct_of_ceiling: f64,
    /// Part of the time of all launches.
    pub share: f64,
}

impl Figures {
    fn new(cost: Cost, seconds: f64, floor_seconds: f64, all: f64) -> Figures {
        Figures {
            cost,
            seconds,
            gflops: 1e-9 * cost.flops as f64 / seconds,
            gbytes_per_s: 1e-9 * cost.bytes() as f64 / seconds,
            intensity: cost.flops as f64 / cost.bytes() as f64,
            floor_seconds,
            pct_of_ceiling: 100.0 * floor_seconds / seconds,
            share: seconds / all,
        }
    }

    /// Those of launches together.
    fn sum<'a>(launches: impl Iterator<Item = &'a LaunchRow> + Clone, all: f64) -> Figures {
        let figures = launches.map(|launch| &launch.figures);
        Figures::new(
            figures.clone().map(|figures| figures.cost).sum(),
            figures.clone().map(|figures| figures.seconds).sum(),
            figures.map(|figures| figures.floor_seconds).sum(),
            all,
        )
    }
}

/// One launch of the step.
#[derive(Clone, Debug, Serialize)]
pub struct LaunchRow {
    /// What it does: its layer, direction and part.
    pub launch: String,
    /// The layer that emitted it, or `gather`, `loss`, `adam`, `clock`.
    pub layer: String,
    /// `input`, `forward`, `objective`, `backward` or `update`.
    pub pass: &'static str,
    /// Its kernel.
    pub kernel: &'static str,
    /// m, k, n where it is a matrix product `[m, k] · [k, n]`, explicit or not.
    pub product: Option<[usize; 3]>,
    /// Its operands: `a [128, 784], b [784, 512], …`
    pub shapes: String,
    /// The shape of the largest of them.
    pub largest: Vec<usize>,
    /// Work-groups in x, y, z on a GPU, of its first dispatch.
    pub groups: Option<[u32; 3]>,
    /// Cost, time and rates.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Launches that have something in common.
#[derive(Clone, Debug, Serialize)]
pub struct GroupRow {
    /// What: a kernel, or a layer.
    pub name: String,
    /// How many launches.
    pub launches: usize,
    /// Their sums, and the rates of those.
    #[serde(flatten)]
    pub figures: Figures,
}

/// A traced step, whole.
#[derive(Clone, Debug)]
pub struct TimedStep {
    /// When the host asked for it, in seconds from the first step's start.
    pub at: f64,
    /// When its launches ran.
    pub timing: Timing,
}

/// What a GPU was asked for.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counted {
    /// Bytes of memory that the plan has.
    pub planned_bytes: u64,
    /// By the time that plan, images and weights were there.
    pub loading: Counters,
    /// So many steps at once, as training runs them.
    pub steps: usize,
    /// In these steps.
    pub running: Counters,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// The recipe's name.
    pub recipe: String,
    /// `cpu` or `gpu`.
    pub device: &'static str,
    /// The adapter's name, if it is a GPU.
    pub adapter: Option<String>,
    /// Threads of the CPU; 0 on a GPU.
    pub threads: usize,
    /// Images per step.
    pub batch: usize,
    /// Height, width and channels of an image.
    pub image: [usize; 3],
    /// Steps that were timed launch by launch, and as many that were timed whole.
    pub steps: usize,
    /// What the device was asked for, if it is a GPU.
    pub counters: Option<Counted>,
    /// What the device can do at best.
    pub ceilings: Ceilings,
    /// Median time of an untraced step.
    pub step_seconds: f64,
    /// Sum of the launches' times.
    pub launch_seconds: f64,
    /// What the step takes beyond its launches; negative where timing slows them down.
    pub gap_seconds: f64,
    /// Every launch in order.
    pub launches: Vec<LaunchRow>,
    /// By kernel, the one that takes longest first.
    pub kernels: Vec<GroupRow>,
    /// By layer, likewise.
    pub layers: Vec<GroupRow>,
    /// All launches together.
    pub total: Figures,
    /// A few consecutive steps.
    #[serde(skip)]
    pub timeline: Vec<TimedStep>,
}

/// Images of random bytes.
pub fn random_images(shape: ImageShape, count: usize) -> Images {
    let mut bytes = vec![0; count * shape.features()];
    ChaCha8Rng::seed_from_u64(0).fill_bytes(&mut bytes);
    Images {
        count,
        height: shape.height,
        width: shape.width,
        channels: shape.channels,
        pixels: Pixels::Bytes(bytes.into()),
    }
}

/// Classes of the images, for models that read labels.
const CLASSES: usize = 10;

/// Traces training steps of a recipe, for images of this shape: so many, or for about two seconds.
///
/// `progress` is told what part of the work is done.
///
/// # Errors
///
/// If the model does not fit the images or the memory, or the device cannot time its launches.
pub fn trace(
    recipe: &Recipe,
    image: ImageShape,
    backend: &Backend,
    steps: Option<usize>,
    progress: impl Fn(f64),
) -> Result<Trace, TrainError> {
    let shape = DataShape {
        train: EPOCH * recipe.train.batch,
        held_out: 1,
        image,
        classes: CLASSES,
    };
    progress(0.0);
    Program::new(recipe, shape, memory_limit())?; // before memory is taken for the images
    let [images, held_out] = [shape.train, shape.held_out].map(|count| Examples {
        images: random_images(image, count),
        labels: (0..count).map(|index| (index % CLASSES) as u8).collect(),
        classes: CLASSES,
    });
    let mut trainer = Trainer::new(recipe, images, held_out, backend, None)?;
    let program = trainer.program();
    let (plan, routine, clock) = (program.plan.clone(), program.train, program.clock);
    let mut stepper = Stepper {
        device: trainer.device(),
        routine,
        clock,
    };
    let loading = stepper.device.counters();
    stepper.traced()?; // warms up, and fails before anything else if the device has no clock
    let one = stepper.untraced(1)?;
    let counters = match loading {
        None => None,
        Some(loading) => Some(Counted {
            planned_bytes: plan.memory.bytes(),
            loading,
            steps: EPOCH,
            running: stepper.counted()?,
        }),
    };
    let ceilings = Ceilings::measure(backend)?;

    let launches = plan.launches(routine);
    let turn = ((TURN.as_secs_f64() / one) as usize).clamp(1, EPOCH);
    let mut untraced = Vec::new();
    let mut traced: Vec<Vec<f64>> = vec![Vec::new(); launches.len()];
    let began = Instant::now();
    loop {
        let count = traced[0].len();
        let time = began.elapsed().as_secs_f64() / LONG_ENOUGH.as_secs_f64();
        let part = match steps {
            Some(steps) => count as f64 / steps as f64,
            None => time.min(count as f64 / FEWEST as f64),
        };
        if part >= 1.0 {
            break;
        }
        progress(part);
        let turn = steps.map_or(turn, |steps| turn.min(steps - count));
        untraced.push(stepper.untraced(turn)?);
        for _ in 0..turn {
            let spans = stepper.traced()?.launches;
            for (samples, span) in traced.iter_mut().zip(spans) {
                samples.push(span.seconds());
            }
        }
    }
    let steps = traced[0].len();
    let seconds: Vec<f64> = traced.into_iter().map(median).collect();
    let on_gpu = matches!(backend, Backend::Gpu(_));
    let scratch = on_gpu.then(|| plan.scratch());
    let rows = rows(launches, &seconds, &ceilings, scratch);
    let timeline = stepper.timeline()?;

    let (info, step_seconds) = (backend.info(), median(untraced));
    let launch_seconds = seconds.iter().sum();
    Ok(Trace {
        recipe: recipe.name.clone(),
        device: info.kind,
        adapter: info.adapter,
        threads: info.threads,
        batch: recipe.train.batch,
        image: [image.height, image.width, image.channels],
        steps,
        counters,
        ceilings,
        step_seconds,
        launch_seconds,
        gap_seconds: step_seconds - launch_seconds,
        kernels: grouped(&rows, |row| row.kernel, launch_seconds),
        layers: grouped(&rows, |row| &row.layer, launch_seconds),
        total: Figures::sum(rows.iter(), launch_seconds),
        launches: rows,
        timeline,
    })
}

/// The program's training step, over and over.
struct Stepper<'a> {
    device: &'a mut dyn Device,
    routine: RoutineId,
    clock: View,
}

impl Stepper<'_> {
    /// Back to the first step: there are but [`EPOCH`].
    fn rewind(&mut self) -> Result<(), DeviceError> {
        self.device.write(self.clock, HostData::Index(&[0, 0]))?;
        self.device.wait()
    }

    /// Seconds per step of so many at once, as training runs them.
    fn untraced(&mut self, steps: usize) -> Result<f64, DeviceError> {
        self.rewind()?;
        let began = Instant::now();
        self.device.run(self.routine, steps)?;
        self.device.wait()?;
        Ok(began.elapsed().as_secs_f64() / steps as f64)
    }

    /// What [`EPOCH`] steps ask of a GPU.
    fn counted(&mut self) -> Result<Counters, DeviceError> {
        self.rewind()?;
        let before = self.device.counters().unwrap_or_default();
        self.device.run(self.routine, EPOCH)?;
        let after = self.device.counters().unwrap_or_default();
        self.device.wait()?;
        Ok(after - before)
    }

    fn traced(&mut self) -> Result<Timing, DeviceError> {
        self.rewind()?;
        self.device.time_launches(self.routine)
    }

    fn timeline(&mut self) -> Result<Vec<TimedStep>, DeviceError> {
        self.rewind()?;
        let began = Instant::now();
        (0..TIMELINE)
            .map(|_| {
                let at = began.elapsed().as_secs_f64();
                let timing = self.device.time_launches(self.routine)?;
                Ok(TimedStep { at, timing })
            })
            .collect()
    }
}

fn median(samples: Vec<f64>) -> f64 {
    Data::new(samples).median()
}

/// One row for each launch; work-groups only where there is a GPU's scratch buffer.
fn rows(
    launches: &[Launch],
    seconds: &[f64],
    ceilings: &Ceilings,
    scratch: Option<BufferId>,
) -> Vec<LaunchRow> {
    let all = seconds.iter().sum();
    let rows = launches.iter().zip(seconds).map(|(launch, &seconds)| {
        let cost = launch.kernel.cost();
        LaunchRow {
            launch: launch.label.to_string(),
            layer: launch.label.layer.clone(),
            pass: launch.label.pass.name(),
            kernel: launch.kernel.name(),
            product: launch.kernel.product(),
            shapes: launch.shapes(),
            largest: largest(launch),
            groups: scratch.map(|scratch| launch.kernel.steps(scratch)[0].dispatch.groups),
            figures: Figures::new(cost, seconds, ceilings.floor(cost), all),
        }
    });
    rows.collect()
}

/// The shape of what a launch writes, or reads if that is more; not of stores that it takes a few rows
/// of.
fn largest(launch: &Launch) -> Vec<usize> {
    let operands = launch.kernel.operands();
    let matrices = operands.iter().filter(|operand| operand.rows.is_some());
    let largest = matrices.max_by_key(|operand| operand.view.len);
    let largest = largest.or(operands.iter().max_by_key(|operand| operand.view.len));
    largest.map(Operand::shape).unwrap_or_default()
}

/// Sums of the rows of one name each, the longest first.
fn grouped<'a>(
    rows: &'a [LaunchRow],
    name: impl Fn(&'a LaunchRow) -> &'a str,
    all: f64,
) -> Vec<GroupRow> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&name(row)) {
            names.push(name(row));
        }
    }
    let mut groups: Vec<GroupRow> = names
        .into_iter()
        .map(|group| {
            let members = rows.iter().filter(|row| name(row) == group);
            GroupRow {
                name: group.to_owned(),
                launches: members.clone().count(),
                figures: Figures::sum(members, all),
            }
        })
        .collect();
    groups.sort_by(|a, b| b.figures.seconds.total_cmp(&a.figures.seconds));
    groups
}

/// Runs of neighbours that agree in `key`, as index ranges: layers within a pass, say.
pub(crate) fn runs<K: PartialEq>(
    rows: &[LaunchRow],
    key: impl Fn(&LaunchRow) -> K,
) -> Vec<std::ops::Range<usize>> {
    let runs = rows.chunk_by(|a, b| key(a) == key(b));
    runs.scan(0, |start, run| {
        let range = *start..*start + run.len();
        *start = range.end;
        Some(range)
    })
    .collect()
}
