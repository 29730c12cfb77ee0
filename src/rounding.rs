//! How far rounding carries: tolerances from the lengths of sums.
//!
//! `f32` rounds each operation by at most ε = 2⁻²⁴ of its result. Where roundings are independent, a
//! sum of K terms is off by about √K·ε. What a batch norm, a cancellation or twenty layers make of
//! that cannot be read off the lengths; so it is tried out in f64: every element is moved up or down
//! at random by √K·ε of itself, before the first launch (K = 1) and after each launch, K being the
//! operations that the launch spends on an element it writes. How far a result then moves is about
//! how far f32 may be off.
//!
//! This is Monte Carlo arithmetic (Parker, “Monte Carlo arithmetic”, 1997; before it Vignes, “A
//! stochastic arithmetic for reliable scientific computation”, 1993) with a launch for its unit
//! instead of an operation.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::buffer::View;
use crate::device::cpu::Cpu;
use crate::device::{Device, DeviceError};
use crate::plan::{Launch, Plan, RoutineId};
use crate::scalar::EPSILON;

/// Times the movement of a few disturbed runs that is tolerated. The runs' largest movement is
/// itself a random number, and WGSL promises division, exp and log to a few ulps only.
pub const MARGIN: f64 = 4.0;

/// The largest absolute value; 0 of none.
pub(crate) fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max, x| max.max(x.abs()))
}

/// √K·ε, K being a launch's operations per element written.
pub fn unit(plan: &Plan, launch: &Launch) -> f64 {
    let elements: usize = plan.written_reals(launch).map(|view| view.len).sum();
    let operations = launch.kernel.cost().flops as f64 / elements.max(1) as f64;
    operations.max(1.0).sqrt() * EPSILON
}

/// Moves values by random signs.
pub struct Disturber(ChaCha8Rng);

impl Disturber {
    /// The same signs for the same seed.
    pub fn new(seed: u64) -> Self {
        Disturber(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Moves every value by `unit` of itself, up or down.
    pub fn disturb(&mut self, values: &mut [f64], unit: f64) {
        for values in values.chunks_mut(64) {
            let mut signs = self.0.next_u64();
            for value in values {
                let sign = if signs & 1 == 1 { 1.0 } else { -1.0 };
                *value += sign * unit * *value;
                signs >>= 1;
            }
        }
    }

    /// Runs a routine once, moving what each launch wrote.
    pub fn run(&mut self, device: &mut Cpu<f64>, routine: RoutineId) -> Result<(), DeviceError> {
        let launches = device.plan().launches(routine).len();
        for index in 0..launches {
            device.run_launch(routine, index)?;
            let launch = &device.plan().launches(routine)[index];
            let unit = unit(device.plan(), launch);
            let views: Vec<View> = device.plan().written_reals(launch).collect();
            for view in views {
                self.disturb(device.reals_mut(view), unit);
            }
        }
        Ok(())
    }
}
