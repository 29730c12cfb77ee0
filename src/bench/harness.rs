//! Timing by turns.

use std::time::{Duration, Instant};

use statrs::statistics::{Data, Min, OrderStatistics};

use crate::train::TrainError;

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Samples of each contestant.
    pub rounds: usize,
    /// What one sample takes at least, by repetition, so that the clock's grain does not count.
    pub burst: Duration,
}

/// Seconds of one run, over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// The middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// A quarter of the rounds lie below the first, and a quarter above the second.
    pub quartiles: [f64; 2],
}

impl Timing {
    /// Sums samples up; there must be one at least.
    pub fn of(samples: Vec<f64>) -> Timing {
        let mut samples = Data::new(samples);
        Timing {
            median: samples.median(),
            min: samples.min(),
            quartiles: [samples.lower_quartile(), samples.upper_quartile()],
        }
    }
}

/// Times contestants `0 .. contestants` in turns: each is warmed up and repeated until it fills a
/// burst, then every round has a burst of each. `run(contestant, times)` runs it so many times, waits,
/// and says how long that took; `progress` hears the part that is done.
pub fn alternate(
    contestants: usize,
    effort: Effort,
    mut run: impl FnMut(usize, usize) -> Result<Duration, TrainError>,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Timing>, TrainError> {
    let all = (contestants * (effort.rounds + 1)) as f64;
    let mut done = 0.0;
    let mut finished = || {
        done += 1.0;
        progress(done / all);
    };
    let mut repeats = Vec::new();
    for contestant in 0..contestants {
        repeats.push(repeats_per_burst(effort.burst, |times| {
            run(contestant, times)
        })?);
        finished();
    }
    let mut samples = vec![Vec::new(); contestants];
    for _ in 0..effort.rounds {
        for (contestant, samples) in samples.iter_mut().enumerate() {
            let spent = run(contestant, repeats[contestant])?;
            samples.push(spent.as_secs_f64() / repeats[contestant] as f64);
            finished();
        }
    }
    Ok(samples.into_iter().map(Timing::of).collect())
}

/// How often a contestant fits a burst, found by running it ever more often; which warms it up.
fn repeats_per_burst(
    burst: Duration,
    mut run: impl FnMut(usize) -> Result<Duration, TrainError>,
) -> Result<usize, TrainError> {
    /// The first runs may be slow because they are the first.
    const MOST_GROWTH: f64 = 8.0;
    let mut times = 1;
    loop {
        let spent = run(times)?;
        if spent >= burst {
            return Ok(times);
        }
        let growth = burst.as_secs_f64() / spent.as_secs_f64().max(1e-9);
        times = (times as f64 * growth.min(MOST_GROWTH)).ceil() as usize;
        if growth < 1.5 {
            return Ok(times);
        }
    }
}

/// How long something took that may fail.
pub(super) fn timed(work: impl FnOnce() -> Result<(), TrainError>) -> Result<Duration, TrainError> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_up_however_few() {
        let timing = Timing::of(vec![4.0, 1.0, 3.0, 2.0, 5.0]);
        assert_eq!((timing.median, timing.min), (3.0, 1.0));
        let [low, high] = timing.quartiles;
        assert!(
            1.0 < low && low < 3.0 && 3.0 < high && high < 5.0,
            "{timing:?}"
        );
        assert_eq!(Timing::of(vec![7.0]).quartiles, [7.0, 7.0]);
    }

    #[test]
    fn contestants_alternate_and_each_fills_its_burst() {
        // Runs of 1 ms and of 40 ms, in bursts of 20.
        let cost = [1, 40].map(Duration::from_millis);
        let effort = Effort {
            rounds: 3,
            burst: Duration::from_millis(20),
        };
        let mut calls = Vec::new();
        let mut heard = Vec::new();
        let run = |contestant: usize, times: usize| {
            calls.push((contestant, times));
            Ok(cost[contestant] * times as u32)
        };
        let timings = alternate(2, effort, run, &mut |part| heard.push(part));
        let timings = timings.expect("nothing fails");
        assert_eq!(calls[calls.len() - 6..], [(0, 20), (1, 1)].repeat(3));
        assert!((timings[0].median - 1e-3).abs() < 1e-12, "{timings:?}");
        assert!((timings[1].min - 40e-3).abs() < 1e-12, "{timings:?}");
        assert!(heard.is_sorted() && heard.last() == Some(&1.0));
    }
}
