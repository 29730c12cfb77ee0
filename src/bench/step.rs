//! Full training steps: gather, noise, forward, loss, backward, Adam.

use std::time::{Duration, Instant};

use crate::data::Images;
use crate::device::{DeviceError, HostData};
use crate::plan::PlanError;
use crate::train::{TrainError, Trainer};

use super::harness::timed;
use super::{Effort, Machine, Row, Timing, WORKLOADS, alternate, recipe};

/// Steps handed to a device at a time, as training does.
const AT_A_TIME: usize = 16;

/// Puts the clock back to the epoch's first step.
fn rewind(trainer: &mut Trainer) -> Result<(), DeviceError> {
    let clock = trainer.program().clock;
    trainer.device().write(clock, HostData::Index(&[0, 0]))
}

/// Runs so many steps, over and over through the same epoch.
pub(super) fn run(trainer: &mut Trainer, times: usize) -> Result<Duration, TrainError> {
    let (routine, steps) = (trainer.program().train, trainer.steps());
    timed(|| {
        let mut position = steps;
        let mut left = times;
        while left > 0 {
            if position == steps {
                rewind(trainer)?;
                position = 0;
            }
            let now = left.min(AT_A_TIME).min(steps - position);
            trainer.device().run(routine, now)?;
            (left, position) = (left - now, position + now);
        }
        Ok(trainer.device().wait()?)
    })
}

/// What of a step is the host's and what the device's: seconds.
struct Parts {
    upload: f64,
    dispatch: f64,
    compute: f64,
    readback: f64,
}

impl Parts {
    fn measure(trainer: &mut Trainer, images: &Images, rounds: usize) -> Result<Parts, TrainError> {
        let program = trainer.program();
        let (train, losses) = (program.train, program.notes[0].values.part(0, 1));
        let steps = trainer.steps().min(AT_A_TIME);
        let batch = program.training.order.len / program.steps;
        let bytes = batch * images.features();
        let target = program.training.values().part(0, bytes);
        let mut uploaded = vec![0; bytes];
        images.copy_bytes(0..batch, &mut uploaded)?;
        let mut samples: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            rewind(trainer)?;
            let device = trainer.device();
            device.wait()?;
            let upload = timed(|| {
                device.write(target, HostData::Byte(&uploaded))?;
                Ok(device.wait()?)
            })?;
            // One submission: the device begins when the host is done with it.
            let dispatch = timed(|| Ok(device.run(train, steps)?))?;
            let compute = timed(|| Ok(device.wait()?))?;
            let began = Instant::now();
            device.read_real(losses)?;
            let each = [
                upload.as_secs_f64(),
                dispatch.as_secs_f64() / steps as f64,
                compute.as_secs_f64() / steps as f64,
                began.elapsed().as_secs_f64(),
            ];
            for (samples, seconds) in samples.iter_mut().zip(each) {
                samples.push(seconds);
            }
        }
        let [upload, dispatch, compute, readback] = samples.map(|s| Timing::of(s).median);
        Ok(Parts {
            upload,
            dispatch,
            compute,
            readback,
        })
    }
}

/// What was measured, and what could not be.
#[derive(Debug, Default)]
pub struct Steps {
    /// One for each workload, batch size and device.
    pub rows: Vec<Row>,
    /// A sentence on each combination that does not fit a device.
    pub skipped: Vec<String>,
}

/// Times training steps of the workloads in batches of these sizes on every device.
///
/// Errors if a device fails, or a batch has more than all images; what is only too large for a device
/// is skipped.
pub fn step(
    machines: &[Machine],
    workloads: &[&str],
    batches: &[usize],
    images: &Images,
    effort: Effort,
    progress: &mut dyn FnMut(f64),
) -> Result<Steps, TrainError> {
    let mut found = Steps::default();
    let held_out = images.pick(&[0]); // a plan wants one
    for (index, &batch) in batches.iter().enumerate() {
        let mut contestants = Vec::new();
        for (workload, name) in WORKLOADS {
            if !workloads.contains(&workload) {
                continue;
            }
            let recipe = recipe(name, batch);
            for machine in machines {
                match Trainer::new(&recipe, images, &held_out, &machine.backend, None) {
                    Ok(trainer) => contestants.push((workload, machine, trainer)),
                    Err(
                        error @ (TrainError::Plan(PlanError::TooLarge { .. })
                        | TrainError::Device(DeviceError::TooLarge { .. })),
                    ) => found.skipped.push(format!(
                        "{workload} at batch {batch} on {}: {error}",
                        machine.name
                    )),
                    Err(error) => return Err(error),
                }
            }
        }
        let timings = alternate(
            contestants.len(),
            effort,
            |contestant, times| run(&mut contestants[contestant].2, times),
            &mut |part| progress((index as f64 + part) / batches.len() as f64),
        )?;
        for ((workload, machine, mut trainer), timing) in contestants.into_iter().zip(timings) {
            let cost = trainer.program().plan.cost(trainer.program().train);
            let mut row = Row {
                batch: Some(batch),
                ..machine.row(workload, "step", timing, cost)
            };
            if machine.is_gpu() {
                let parts = Parts::measure(&mut trainer, images, effort.rounds)?;
                row.upload_ms = Some(1e3 * parts.upload);
                row.dispatch_ms = Some(1e3 * parts.dispatch);
                row.compute_ms = Some(1e3 * parts.compute);
                row.readback_ms = Some(1e3 * parts.readback);
            }
            found.rows.push(row);
        }
    }
    Ok(found)
}

/// From which batch size on a GPU is faster than the CPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossover {
    /// `dense` or `conv`.
    pub workload: &'static str,
    /// The GPU.
    pub gpu: String,
    /// The least of the batch sizes at and above which the GPU was always the faster; none if the CPU
    /// was still faster at the largest.
    pub batch: Option<usize>,
    /// The batch sizes that both took.
    pub compared: Vec<usize>,
}

/// The crossovers of all workloads and GPUs in the rows of [`step`]; none where no batch was run on
/// both sides.
pub fn crossovers(rows: &[Row]) -> Vec<Crossover> {
    let mut found: Vec<Crossover> = Vec::new();
    let on_cpu = |row: &Row| row.threads.is_some();
    for row in rows.iter().filter(|row| !on_cpu(row)) {
        let twin = rows.iter().find(|other| {
            on_cpu(other) && (other.workload, other.batch) == (row.workload, row.batch)
        });
        let (Some(cpu), Some(batch)) = (twin, row.batch) else {
            continue;
        };
        let same = |other: &Crossover| other.workload == row.workload && other.gpu == row.device;
        let at = found.iter().position(same).unwrap_or_else(|| {
            found.push(Crossover {
                workload: row.workload,
                gpu: row.device.clone(),
                batch: None,
                compared: Vec::new(),
            });
            found.len() - 1
        });
        // Rows come by ascending batch size.
        let crossover = &mut found[at];
        crossover.compared.push(batch);
        crossover.batch = match row.median_ms < cpu.median_ms {
            true => crossover.batch.or(Some(batch)),
            false => None,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Cost;
    use crate::ceilings::{Ceilings, CopyRate};
    use crate::device::Backend;
    use crate::device::cpu::Cpu;

    /// Rows of the two devices in turns, as [`step`] makes them: batch, ms on the CPU, ms on a GPU.
    fn rows(times: &[(usize, f64, f64)]) -> Vec<Row> {
        let machine = Machine {
            name: "cpu".to_owned(),
            backend: Backend::Cpu(Cpu::<f32>::team(1).expect("a thread")),
            ceilings: Ceilings {
                gemm: 1.0,
                copies: vec![CopyRate {
                    bytes: 1,
                    rate: 1.0,
                }],
            },
        };
        let row = |batch, ms: f64| Row {
            batch: Some(batch),
            ..machine.row(
                "dense",
                "step",
                Timing::of(vec![1e-3 * ms]),
                Cost::default(),
            )
        };
        let on_gpu = |row: Row| Row {
            device: "a GPU".to_owned(),
            threads: None,
            ..row
        };
        let pair =
            |&(batch, cpu, gpu): &(usize, f64, f64)| [row(batch, cpu), on_gpu(row(batch, gpu))];
        times.iter().flat_map(pair).collect()
    }

    #[test]
    fn the_crossover_is_the_batch_from_which_on_the_gpu_stays_ahead() {
        let batch_of = |times: &[(usize, f64, f64)]| crossovers(&rows(times))[0].batch;
        assert_eq!(
            batch_of(&[(1, 1.0, 2.0), (16, 3.0, 2.0), (128, 9.0, 3.0)]),
            Some(16)
        );
        assert_eq!(
            batch_of(&[(1, 3.0, 2.0), (16, 1.0, 2.0), (128, 9.0, 3.0)]),
            Some(128)
        );
        assert_eq!(batch_of(&[(1, 3.0, 2.0), (16, 3.0, 2.0)]), Some(1));
        assert_eq!(batch_of(&[(1, 3.0, 2.0), (16, 1.0, 2.0)]), None);
        let found = crossovers(&rows(&[(4, 1.0, 2.0)]));
        assert_eq!(
            (found[0].gpu.as_str(), &found[0].compared[..]),
            ("a GPU", &[4][..])
        );
        assert!(crossovers(&rows(&[(4, 1.0, 2.0)])[..1]).is_empty());
    }
}
