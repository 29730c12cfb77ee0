//! How time and memory grow with size.
//!
//! Along each [`Axis`] one size grows and everything else stays. Time and memory are then powers of the
//! size as far as they are anything simple, and the exponents are what a [`Series`] comes to.

mod fit;
mod subjects;

pub use fit::{Power, power};

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::data::DataError;
use crate::device::{Backend, DeviceError};
use crate::train::TrainError;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// Images in a training step of `reference-dense`.
    Batch,
    /// Width w of a model 784-w-w-64 and its mirror; a training step of 128 images.
    Width,
    /// Training images: an epoch of a small model, with all of them on the device and in windows.
    Data,
    /// References of a nearest-neighbour search for 32 queries, 784 values each.
    References,
    /// Labelled images: the few-label evaluation of 500 images with 10 draws of so many of 20,000.
    Labels,
}

impl Axis {
    /// All there are.
    pub const ALL: [Axis; 5] = [
        Axis::Batch,
        Axis::Width,
        Axis::Data,
        Axis::References,
        Axis::Labels,
    ];

    /// Its name, also of its chart's file.
    pub fn name(self) -> &'static str {
        match self {
            Axis::Batch => "batch",
            Axis::Width => "width",
            Axis::Data => "data",
            Axis::References => "references",
            Axis::Labels => "labels",
        }
    }

    /// What a size counts.
    pub fn size(self) -> &'static str {
        match self {
            Axis::Batch => "images in a batch",
            Axis::Width => "width of the hidden layers",
            Axis::Data => "training images",
            Axis::References => "references",
            Axis::Labels => "labelled images",
        }
    }

    /// What is timed.
    pub fn timed(self) -> &'static str {
        match self {
            Axis::Batch | Axis::Width => "training step",
            Axis::Data => "epoch",
            Axis::References => "search for 32 queries",
            Axis::Labels => "few-label evaluation",
        }
    }

    /// The sizes that are measured: a few, or the whole range.
    pub fn sizes(self, full: bool) -> Vec<usize> {
        let (first, quick, last, step) = match self {
            Axis::Batch => (1, 1024, 16_384, 2),
            Axis::Width => (64, 1024, 8192, 2),
            Axis::Data => (1000, 64_000, 1_024_000, 4),
            Axis::References => (1000, 64_000, 1_024_000, 4),
            Axis::Labels => (10, 2560, 10_240, 4),
        };
        let last = if full { last } else { quick };
        let grow = |size: &usize| Some(size * step);
        std::iter::successors(Some(first), grow)
            .take_while(|&size| size <= last)
            .collect()
    }
}

/// What was measured at one size.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// Where on the axis.
    pub size: usize,
    /// Median over the runs.
    pub median_ms: Option<f64>,
    /// The fastest run.
    pub min_ms: Option<f64>,
    /// Runs that were timed.
    pub runs: usize,
    /// Bytes; see [`Series::memory_is`].
    pub memory_bytes: Option<u64>,
    /// Why there is nothing to time: it does not fit.
    pub note: Option<String>,
}

/// Points of one way to do it.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// The axis.
    pub axis: Axis,
    /// Which way, where there are several.
    pub name: &'static str,
    /// What the points' memory is: `planned` on the device, or `resident`, all that the process holds.
    pub memory_is: &'static str,
    /// By size.
    pub points: Vec<Point>,
    /// Milliseconds as a power of the size.
    pub time: Option<Growth>,
    /// Bytes as a power of the size.
    pub memory: Option<Growth>,
}

/// Fits over all sizes and over the upper half of their range, on a logarithmic scale: small sizes
/// mostly show what it costs to do anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// All sizes.
    pub all: Power,
    /// Those above the middle.
    pub upper: Power,
}

impl Growth {
    fn of(points: &[(f64, f64)]) -> Option<Growth> {
        let all = power(points)?;
        let sizes = || points.iter().map(|point| point.0);
        let ends = [
            sizes().fold(f64::MAX, f64::min),
            sizes().fold(0.0, f64::max),
        ];
        let middle = (ends[0] * ends[1]).sqrt();
        let upper: Vec<(f64, f64)> = points.iter().copied().filter(|p| p.0 >= middle).collect();
        Some(Growth {
            all,
            upper: power(&upper).unwrap_or(all),
        })
    }
}

/// What can go wrong, but for sizes that do not fit.
#[derive(Debug, thiserror::Error)]
pub enum ScalingError {
    /// The device, the plan or the data failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A folder for the images could not be made.
    #[error("cannot make a temporary folder for images: {0}\nhint: set TMPDIR to one with room")]
    Folder(std::io::Error),
}

impl From<DeviceError> for ScalingError {
    fn from(error: DeviceError) -> Self {
        TrainError::from(error).into()
    }
}

impl From<DataError> for ScalingError {
    fn from(error: DataError) -> Self {
        TrainError::from(error).into()
    }
}

/// What a size came to.
struct Measured {
    times: Vec<Duration>,
    memory: Option<u64>,
}

/// Runs `run` for about `budget`, at least once. The first run warms up, unless it takes that long.
fn repeat(
    budget: Duration,
    mut run: impl FnMut() -> Result<(), ScalingError>,
) -> Result<Vec<Duration>, ScalingError> {
    const MOST: usize = 1000;
    let mut timed = || -> Result<Duration, ScalingError> {
        let began = Instant::now();
        run()?;
        Ok(began.elapsed())
    };
    let began = Instant::now();
    let first = timed()?;
    if first >= budget {
        return Ok(vec![first]);
    }
    let mut times = Vec::new();
    while times.is_empty() || (began.elapsed() < budget && times.len() < MOST) {
        times.push(timed()?);
    }
    Ok(times)
}

/// Measures an axis at these sizes, each for about `budget`. `progress` hears how many of the
/// points are done; there are [`points`] of them.
pub fn measure(
    axis: Axis,
    sizes: &[usize],
    backend: &Backend,
    budget: Duration,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Series>, ScalingError> {
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let mut done = 0;
    let mut all = Vec::new();
    let mut subjects = subjects::subjects(axis, largest, backend, budget)?;
    for subject in &mut subjects {
        let mut points = Vec::new();
        for &size in sizes {
            points.push(match (subject.measure)(size) {
                Ok(measured) => Point::new(size, measured),
                Err(error) => match does_not_fit(&error) {
                    true => Point::absent(size, error.to_string()),
                    false => return Err(error),
                },
            });
            done += 1;
            progress(done);
        }
        all.push(Series::new(axis, subject, points));
    }
    Ok(all)
}

/// How many points an axis has for so many sizes.
pub fn points(axis: Axis, sizes: usize) -> usize {
    match axis {
        Axis::Data => 2 * sizes,
        _ => sizes,
    }
}

/// Whether the machine or the device is too small.
fn does_not_fit(error: &ScalingError) -> bool {
    let ScalingError::Train(error) = error else {
        return false;
    };
    matches!(
        error,
        TrainError::Plan(_) | TrainError::Device(DeviceError::TooLarge { .. })
    )
}

impl Point {
    fn new(size: usize, Measured { mut times, memory }: Measured) -> Point {
        times.sort_unstable();
        let ms = |time: Duration| 1e3 * time.as_secs_f64();
        let middle = [times[(times.len() - 1) / 2], times[times.len() / 2]];
        Point {
            size,
            median_ms: Some(0.5 * (ms(middle[0]) + ms(middle[1]))),
            min_ms: Some(ms(times[0])),
            runs: times.len(),
            memory_bytes: memory,
            note: None,
        }
    }

    fn absent(size: usize, note: String) -> Point {
        Point {
            size,
            median_ms: None,
            min_ms: None,
            runs: 0,
            memory_bytes: None,
            note: Some(note),
        }
    }
}

impl Series {
    fn new(axis: Axis, subject: &subjects::Subject, points: Vec<Point>) -> Series {
        let growth = |value: &dyn Fn(&Point) -> Option<f64>| {
            let pairs = points.iter();
            let pairs = pairs.filter_map(|point| Some((point.size as f64, value(point)?)));
            Growth::of(&pairs.collect::<Vec<_>>())
        };
        Series {
            axis,
            name: subject.name,
            memory_is: subject.memory_is,
            time: growth(&|point| point.median_ms),
            memory: growth(&|point| point.memory_bytes.map(|bytes| bytes as f64)),
            points,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_half_is_fitted_apart() {
        // Flat up to 10, then a square.
        let points = [1.0, 10.0, 100.0, 1000.0].map(|x: f64| (x, (x * x).max(100.0)));
        let growth = Growth::of(&points).expect("four points");
        assert!((growth.upper.exponent - 2.0).abs() < 1e-12);
        assert!(growth.all.exponent < 1.7);
    }

    #[test]
    fn what_takes_longer_than_the_budget_runs_once_and_anything_else_is_warmed_up() {
        let mut runs = 0;
        let mut count = |budget| {
            runs = 0;
            let times = repeat(budget, || {
                runs += 1;
                std::thread::sleep(Duration::from_millis(2));
                Ok(())
            });
            (runs, times.expect("nothing fails").len())
        };
        assert_eq!(count(Duration::from_millis(1)), (1, 1));
        let (runs, timed) = count(Duration::from_millis(20));
        assert!(runs == timed + 1 && timed >= 1);
    }

    #[test]
    fn sizes_reach_the_end_of_their_range() {
        let last = |axis: Axis| axis.sizes(true).last().copied();
        assert_eq!(last(Axis::Batch), Some(16_384));
        assert_eq!(last(Axis::Width), Some(8192));
        assert!(last(Axis::Data) >= Some(1_000_000));
        assert!(last(Axis::References) >= Some(1_000_000));
    }
}
