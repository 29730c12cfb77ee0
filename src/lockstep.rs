//! Lockstep: the same training steps on two devices, compared launch by launch.
//!
//! Two questions, two measures. **Is this launch right?** A third device computes the same launch in
//! f64, from the very inputs that the device had; what the launch wrote may be off by what rounding of
//! its sums explains ([`crate::rounding`]), and by what rounding does to numbers that a kernel makes from
//! no input ([`Kernel::inner_rounding`](crate::kernels::Kernel::inner_rounding)). Errors of earlier
//! launches are in the inputs already, so the first launch that is off is the one at fault. **How far have the devices come apart?** The two run
//! freely, each on its own numbers; ‖a − b‖ / ‖a‖ of each buffer shows how their difference grows.

use serde::Serialize;

use crate::buffer::{Element, Operand, View};
use crate::device::{Device, DeviceError, HostData};
use crate::plan::Plan;
use crate::rounding::{Disturber, MARGIN, largest, unit};
use crate::train::Trainer;

/// Runs whose results show how far rounding carries.
const DISTURBED_RUNS: u64 = 2;

/// One launch of one step.
#[derive(Clone, Debug, Serialize)]
pub struct LaunchRecord {
    /// Step, from 1.
    pub step: usize,
    /// Place in the step, from 0.
    pub index: usize,
    /// The layer and what it does.
    pub launch: String,
    /// Its kernel.
    pub kernel: &'static str,
    /// Its operands: `a [128, 784]`, …
    pub shapes: String,
    /// On each device: the largest error of an element, as a part of what is tolerated.
    pub error: [f64; 2],
    /// On each device: the error that the launch adds, ‖got − expected‖ / ‖expected‖.
    pub added: [f64; 2],
    /// How far the devices are apart behind it, ‖a − b‖ / ‖a‖, in the buffer where that is most.
    pub apart: f64,
}

/// The devices after a step.
#[derive(Clone, Debug, Serialize)]
pub struct StepRecord {
    /// From 1.
    pub step: usize,
    /// Its loss on each device.
    pub loss: [f64; 2],
    /// ‖a − b‖ / ‖a‖ of all parameters.
    pub parameters_apart: f64,
    /// The same of the buffer that is farthest apart at any time.
    pub most_apart: f64,
    /// The launch that wrote it.
    pub most_apart_launch: String,
    /// The most that a launch adds to the second device's error.
    pub most_added: f64,
    /// That launch.
    pub most_added_launch: String,
}

/// A launch that computed something else than it should have.
#[derive(Clone, Debug, Serialize)]
pub struct Divergence {
    /// Step, from 1.
    pub step: usize,
    /// Which of the two devices.
    pub device: String,
    /// The launch.
    pub launch: String,
    /// Its kernel.
    pub kernel: &'static str,
    /// Its operands.
    pub shapes: String,
    /// The operand that is wrong.
    pub operand: &'static str,
    /// The buffer it lies in.
    pub buffer: String,
    /// Its worst element.
    pub element: usize,
    /// What f64 makes of the same inputs.
    pub expected: f64,
    /// What the device made of them.
    pub got: f64,
    /// What |got − expected| may be.
    pub tolerance: f64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Names of the two devices.
    pub devices: [String; 2],
    /// The first launch that is wrong; none if all are right.
    pub divergence: Option<Divergence>,
    /// Every step that was finished.
    pub steps: Vec<StepRecord>,
    /// Every launch of every step.
    pub launches: Vec<LaunchRecord>,
}

/// A device that takes part: a model in training, freshly loaded.
pub struct Participant {
    /// What reports call it.
    pub name: String,
    /// The model on its device.
    pub trainer: Trainer,
    /// Whether to judge its launches: f64 on the CPU is the judge itself.
    pub judged: bool,
}

/// What a buffer holds.
enum Contents {
    Reals(Vec<f64>),
    Indices(Vec<u32>),
}

impl Contents {
    fn read(plan: &Plan, device: &mut dyn Device, view: View) -> Result<Contents, DeviceError> {
        Ok(match plan.buffer(view).element {
            Element::Index => Contents::Indices(device.read_index(view)?),
            _ => Contents::Reals(device.read_double(view)?),
        })
    }

    fn write(&self, device: &mut dyn Device, view: View) -> Result<(), DeviceError> {
        match self {
            Contents::Reals(values) => device.write(view, HostData::Double(values)),
            Contents::Indices(values) => device.write(view, HostData::Index(values)),
        }
    }

    /// Indices as reals too: their differences are whole numbers.
    fn numbers(self) -> Vec<f64> {
        match self {
            Contents::Reals(values) => values,
            Contents::Indices(values) => values.into_iter().map(f64::from).collect(),
        }
    }
}

/// What a launch should have written.
struct Expected {
    values: Vec<f64>,
    /// What each may be off by.
    tolerances: Vec<f64>,
}

/// Elements that share what rounding of sums explains. Parameters begin at multiples of it, so a small
/// weight is never judged by a large γ.
const NEIGHBOURS: usize = 64;

/// What the judge's memory holds.
struct OfJudge<'a>(&'a mut dyn Device);

impl crate::kernels::Contents for OfJudge<'_> {
    fn reals(&mut self, view: View) -> Vec<f64> {
        self.0
            .read_double(view)
            .expect("the CPU reads its own memory")
    }

    fn indices(&mut self, view: View) -> Vec<u32> {
        self.0
            .read_index(view)
            .expect("the CPU reads its own memory")
    }
}

/// The device that knows better.
struct Judge {
    trainer: Trainer,
}

impl Judge {
    /// What a launch makes of these inputs in f64, and how far rounding may carry from that.
    fn expect(
        &mut self,
        index: usize,
        inputs: &[(View, Contents)],
        outputs: &[Operand],
    ) -> Result<Vec<Expected>, DeviceError> {
        let (plan, routine) = (
            self.trainer.program().plan.clone(),
            self.trainer.program().train,
        );
        let launch = &plan.launches(routine)[index];
        let unit = unit(&plan, launch);
        let device = self.trainer.device();
        let run = |device: &mut dyn Device,
                   disturber: Option<&mut Disturber>|
         -> Result<Vec<Vec<f64>>, DeviceError> {
            let mut disturber = disturber;
            for (view, contents) in inputs {
                match (contents, &mut disturber) {
                    (Contents::Reals(values), Some(disturber)) => {
                        let mut values = values.clone();
                        disturber.disturb(&mut values, unit);
                        device.write(*view, HostData::Double(&values))?;
                    }
                    _ => contents.write(device, *view)?,
                }
            }
            device.run_launch(routine, index)?;
            let written = outputs.iter().map(|operand| operand.view);
            written
                .map(|view| Ok(Contents::read(&plan, device, view)?.numbers()))
                .collect()
        };
        let values = run(device, None)?;
        let inner = launch.kernel.inner_rounding(&mut OfJudge(device));
        let mut moved: Vec<Vec<f64>> = values.iter().map(|v| vec![0.0; v.len()]).collect();
        for seed in 0..DISTURBED_RUNS {
            let disturbed = run(device, Some(&mut Disturber::new(seed)))?;
            for ((moved, disturbed), values) in moved.iter_mut().zip(&disturbed).zip(&values) {
                for ((moved, disturbed), value) in moved.iter_mut().zip(disturbed).zip(values) {
                    *moved = moved.max(difference(*disturbed, *value));
                }
            }
        }
        let expected = values.into_iter().zip(moved).zip(outputs);
        let expected = expected.map(|((values, moved), operand)| {
            let is_real = plan.buffer(operand.view).element == Element::Real;
            let neighbours = values.chunks(NEIGHBOURS).zip(moved.chunks(NEIGHBOURS));
            let mut tolerances: Vec<f64> = neighbours
                .flat_map(|(values, moved)| {
                    let tolerance = MARGIN * (largest(moved) + unit * largest(values));
                    std::iter::repeat_n(tolerance, values.len())
                })
                .collect();
            for (_, differences) in inner.iter().filter(|(view, _)| *view == operand.view) {
                for (tolerance, difference) in tolerances.iter_mut().zip(differences) {
                    *tolerance += difference;
                }
            }
            // An index is right or wrong, and so is what has no finite tolerance.
            for tolerance in &mut tolerances {
                if !is_real || !tolerance.is_finite() {
                    *tolerance = 0.0;
                }
            }
            Expected { tolerances, values }
        });
        Ok(expected.collect())
    }
}

/// |a − b|; a NaN differs infinitely from anything else.
fn difference(a: f64, b: f64) -> f64 {
    match (a - b).abs() {
        difference if !difference.is_nan() => difference,
        _ if a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) => 0.0,
        _ => f64::INFINITY,
    }
}

impl Expected {
    /// The element that is farthest off for what it may be, and the part of its tolerance that it is
    /// off by.
    fn worst(&self, got: &[f64]) -> (usize, f64) {
        let mut worst = (0, 0.0);
        for (element, (&value, &got)) in self.values.iter().zip(got).enumerate() {
            let part = match difference(value, got) {
                0.0 => 0.0,
                difference => difference / self.tolerances[element],
            };
            if part > worst.1 {
                worst = (element, part);
            }
        }
        worst
    }
}

/// ‖a − b‖ / ‖a‖, and 0 where both are 0.
fn relative(a: &[f64], b: &[f64]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let difference = squares(&mut a.iter().zip(b).map(|(a, b)| a - b)).sqrt();
    match difference {
        0.0 => 0.0,
        _ => difference / squares(&mut a.iter().copied()).sqrt(),
    }
}

/// What a launch wrote on a device, and what it should have written, operand by operand.
struct Outcome {
    written: Vec<Vec<f64>>,
    /// None on a device that is not judged.
    expected: Option<Vec<Expected>>,
}

impl Participant {
    /// Runs a launch, judged from the inputs it finds.
    fn launch(
        &mut self,
        index: usize,
        operands: &[Operand],
        judge: &mut Judge,
    ) -> Result<Outcome, DeviceError> {
        let program = self.trainer.program();
        let (plan, routine) = (program.plan.clone(), program.train);
        let device = self.trainer.device();
        let mut inputs: Vec<(View, Contents)> = Vec::new();
        for operand in operands.iter().filter(|operand| operand.is_read()) {
            let view = operand.view;
            // Bytes are the images: the judge has them, and no launch changes them.
            let constant = plan.buffer(view).element == Element::Byte;
            if self.judged && !constant && inputs.iter().all(|(known, _)| *known != view) {
                inputs.push((view, Contents::read(&plan, device, view)?));
            }
        }
        device.run_launch(routine, index)?;
        let outputs: Vec<Operand> = written(operands).copied().collect();
        let read = |operand: &Operand| Contents::read(&plan, device, operand.view);
        let contents: Result<Vec<Contents>, DeviceError> = outputs.iter().map(read).collect();
        let expected = match self.judged {
            true => Some(judge.expect(index, &inputs, &outputs)?),
            false => None,
        };
        Ok(Outcome {
            written: contents?.into_iter().map(Contents::numbers).collect(),
            expected,
        })
    }
}

fn written(operands: &[Operand]) -> impl Iterator<Item = &Operand> {
    operands.iter().filter(|operand| operand.is_written())
}

/// Runs `steps` steps on both devices, up to the first launch that is wrong.
///
/// `judge` is the same model on the CPU in f64. `progress` is told how many launches are done.
pub fn run(
    mut participants: [Participant; 2],
    judge: Trainer,
    steps: usize,
    progress: impl Fn(usize),
) -> Result<Report, DeviceError> {
    let (plan, routine) = (judge.program().plan.clone(), judge.program().train);
    let launches = plan.launches(routine);
    let mut judge = Judge { trainer: judge };
    let mut report = Report {
        devices: [0, 1].map(|i: usize| participants[i].name.clone()),
        divergence: None,
        steps: Vec::new(),
        launches: Vec::new(),
    };
    for step in 1..=steps {
        for (index, launch) in launches.iter().enumerate() {
            let operands = launch.kernel.operands();
            let [one, other] = &mut participants;
            let outcomes = [
                one.launch(index, &operands, &mut judge)?,
                other.launch(index, &operands, &mut judge)?,
            ];
            let mut record = LaunchRecord {
                step,
                index,
                launch: launch.label.to_string(),
                kernel: launch.kernel.name(),
                shapes: launch.shapes(),
                error: [0.0; 2],
                added: [0.0; 2],
                apart: 0.0,
            };
            for (which, outcome) in outcomes.iter().enumerate() {
                let Some((place, element)) = record.judge(which, outcome) else {
                    continue;
                };
                let operand = written(&operands).nth(place).expect("one of them");
                let expected = &outcome.expected.as_ref().expect("judged")[place];
                report.divergence.get_or_insert_with(|| Divergence {
                    step,
                    device: participants[which].name.clone(),
                    launch: record.launch.clone(),
                    kernel: record.kernel,
                    shapes: record.shapes.clone(),
                    operand: operand.name,
                    buffer: plan.buffer(operand.view).name.clone(),
                    element,
                    expected: expected.values[element],
                    got: outcome.written[place][element],
                    tolerance: expected.tolerances[element],
                });
            }
            let [one, other] = &outcomes;
            let pairs = one.written.iter().zip(&other.written);
            record.apart = pairs.map(|(a, b)| relative(a, b)).fold(0.0, f64::max);
            report.launches.push(record);
            if report.divergence.is_some() {
                return Ok(report);
            }
            progress((step - 1) * launches.len() + index + 1);
        }
        let of_step = &report.launches[report.launches.len() - launches.len()..];
        let record = summarise(step, of_step, &mut participants)?;
        report.steps.push(record);
    }
    Ok(report)
}

impl LaunchRecord {
    /// Notes a device's errors. Returns the first operand that is off by more than is tolerated, with
    /// its worst element.
    fn judge(&mut self, which: usize, outcome: &Outcome) -> Option<(usize, usize)> {
        let mut wrong = None;
        let expected = outcome.expected.iter().flatten();
        for (operand, (expected, got)) in expected.zip(&outcome.written).enumerate() {
            let (element, part) = expected.worst(got);
            self.error[which] = self.error[which].max(part);
            self.added[which] = self.added[which].max(relative(&expected.values, got));
            if part > 1.0 && wrong.is_none() {
                wrong = Some((operand, element));
            }
        }
        wrong
    }
}

fn summarise(
    step: usize,
    launches: &[LaunchRecord],
    participants: &mut [Participant; 2],
) -> Result<StepRecord, DeviceError> {
    let mut loss = [0.0; 2];
    let mut parameters = [Vec::new(), Vec::new()];
    for (which, participant) in participants.iter_mut().enumerate() {
        let notes = participant.trainer.program().notes.clone();
        for note in &notes {
            let view = note.values.part(step - 1, 1);
            let value = participant.trainer.device().read_double(view)?[0];
            loss[which] += note.weight * value;
        }
        let tensors = participant.trainer.program().tensors.clone();
        for tensor in &tensors {
            let values = participant.trainer.device().read_double(tensor.value)?;
            parameters[which].extend(values);
        }
    }
    let most = |measure: fn(&LaunchRecord) -> f64| {
        launches
            .iter()
            .max_by(|a, b| measure(a).total_cmp(&measure(b)))
            .expect("a step has launches")
    };
    let (apart, added) = (most(|launch| launch.apart), most(|launch| launch.added[1]));
    Ok(StepRecord {
        step,
        loss,
        parameters_apart: relative(&parameters[0], &parameters[1]),
        most_apart: apart.apart,
        most_apart_launch: apart.launch.clone(),
        most_added: added.added[1],
        most_added_launch: added.launch.clone(),
    })
}
