//! Central differences: derivatives from values of a function alone.
//!
//! ```text
//! D(h) = (f(x+h) − f(x−h)) / 2h           wrong by h²·f‴/6 for truncation, by ~δ/h for rounding
//! D(h) + (D(h) − D(2h)) / 3               wrong by h⁴·f⁽⁵⁾/30, and by ~δ/h
//! ```
//! where δ is f's own rounding error. A large h truncates, a small one divides rounding errors by
//! next to nothing: plotted over h the error is a V ([`sweep`]). In f64 the second formula's lies
//! some 1e-12 deep for a layer; in f32 the best there is is 1e-5, and far worse at most widths, which is
//! why f32 is never checked so.
//!
//! Both want f to be smooth between x − 2h and x + 2h. A kink (a ReLU at 0, a tie of maxima) shows in
//! the third and fourth differences of the five values, which vanish like h² and h³ where f is
//! smooth: the slopes on both sides of the point differ. And one width alone is never believed: the next
//! narrower one has to give the same, which neither a kink, nor truncation, nor rounding lets it.

use std::sync::Arc;

use crate::kernels::host::Team;

use crate::device::cpu::{Cpu, Precision};
use crate::device::{Device, DeviceError};
use crate::plan::Plan;

use super::Case;
use super::case::{Point, Quantity};

/// Largest relative error of a sound gradient in f64.
pub(super) const TOLERANCE: f64 = 1e-6;

/// Widths tried, two neighbours at a time: where the wider ones straddle a kink, narrower ones may not.
const STEPS: [f64; 7] = [3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6];
/// The part of the tolerance by which two widths may differ.
const AGREEMENT: f64 = 0.3;

/// Third and fourth differences, as slopes, beyond this part of the quantity's largest gradient (and
/// beyond rounding) mean a kink.
const KINK: f64 = 1e-9;
/// What the third may be besides, as a multiple of h²: half the third derivative.
const CURVED: f64 = 10.0;

/// A case's function on a device.
pub(super) struct Function<'a, T> {
    case: &'a Case,
    point: &'a Point,
    device: Cpu<T>,
}

impl<'a, T: Precision> Function<'a, T> {
    pub(super) fn new(
        team: &Arc<Team>,
        case: &'a Case,
        point: &'a Point,
        plan: Arc<Plan>,
    ) -> Result<Self, DeviceError> {
        let mut device = Cpu::<T>::new(plan, team.clone());
        point.load(&mut device)?;
        Ok(Function {
            case,
            point,
            device,
        })
    }

    /// Σ r·y over the outputs of a turn, and Σ |r·y|, which is what its rounding error is relative to.
    fn value(&mut self, turn: usize) -> Result<[f64; 2], DeviceError> {
        self.device.run(self.case.forward, 1)?;
        let [mut sum, mut size] = [0.0; 2];
        for (output, weights) in self.case.outputs.iter().zip(&self.point.weights) {
            if output.turn != turn {
                continue;
            }
            for (y, &r) in self.device.reals(output.view).iter().zip(weights) {
                let term = y.to_double() * r;
                sum += term;
                size += term.abs();
            }
        }
        Ok([sum, size])
    }

    /// The function's value with one element of a quantity moved by `offset`.
    fn moved(&mut self, of: &Quantity, place: usize, offset: f64) -> Result<f64, DeviceError> {
        let element = &mut self.device.reals_mut(of.values)[place];
        let value = *element;
        *element = T::of(value.to_double() + offset);
        let [sum, _] = self.value(of.turn)?;
        self.device.reals_mut(of.values)[place] = value;
        Ok(sum)
    }

    /// D(h)
    fn central(&mut self, of: &Quantity, place: usize, h: f64) -> Result<f64, DeviceError> {
        Ok((self.moved(of, place, h)? - self.moved(of, place, -h)?) / (2.0 * h))
    }

    /// The derivative by one element; none if no two widths agree on it: at a kink, or where it is too
    /// small to be seen beside the function's own rounding. `scale` is the size of the quantity's
    /// gradients, `least` what errors of this element's are relative to at least.
    pub(super) fn derivative(
        &mut self,
        of: &Quantity,
        place: usize,
        scale: f64,
        least: f64,
    ) -> Result<Option<f64>, DeviceError> {
        let [here, size] = self.value(of.turn)?;
        if !here.is_finite() {
            return Ok(Some(f64::NAN));
        }
        let mut wider: Option<f64> = None;
        for h in STEPS {
            let mut at = |steps: f64| self.moved(of, place, steps * h);
            let [left2, left, right, right2] = [at(-2.0)?, at(-1.0)?, at(1.0)?, at(2.0)?];
            let (near, far) = ((right - left) / (2.0 * h), (right2 - left2) / (4.0 * h));
            let third = far - near;
            let fourth = (left2 - 4.0 * left + 6.0 * here - 4.0 * right + right2) / h;
            let rounding = 64.0 * f64::EPSILON * size / h;
            let smooth = KINK * scale + rounding;
            if fourth.abs() > smooth || third.abs() > smooth.max(CURVED * h * h * scale) {
                wider = None;
                continue;
            }
            let estimate = near + (near - far) / 3.0;
            if let Some(wider) = wider
                && (wider - estimate).abs() <= AGREEMENT * TOLERANCE * estimate.abs().max(least)
            {
                return Ok(Some(wider));
            }
            wider = Some(estimate);
        }
        Ok(None)
    }
}

/// Median relative errors of differences at one distance, over elements of every quantity.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct SweepPoint {
    /// h
    pub step: f64,
    /// D(h) in f64.
    pub central: f64,
    /// D(h) + (D(h) − D(2h))/3 in f64.
    pub fourth_order: f64,
    /// D(h) in f32.
    pub single: f64,
}

/// The V: truncation against rounding.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Sweep {
    /// The case.
    pub layer: String,
    /// From the largest distance to the smallest.
    pub points: Vec<SweepPoint>,
}

/// Compares differences with the hand-written gradient for h from 1e-2 to 1e-9.
pub fn sweep(case: &Case, seed: u64) -> Result<Sweep, DeviceError> {
    const PER_DECADE: usize = 4;
    const DECADES: usize = 7;
    const POINTS: usize = 12;
    let plan = case.sound();
    let point = case.point(seed);
    let team = Cpu::<f64>::team(1)?;
    let mut double = Function::<f64>::new(&team, case, &point, plan.clone())?;
    let mut single = Function::<f32>::new(&team, case, &point, plan)?;
    double.device.run(case.backward, 1)?;
    let gradients = case.gradients(&mut double.device)?;
    let mut places = Vec::new();
    for (quantity, gradient) in case.quantities.iter().zip(&gradients) {
        let every = gradient.len().div_ceil(POINTS);
        let some = gradient.iter().enumerate().step_by(every);
        // Of elements without a gradient there is no relative error.
        let some = some.filter(|(_, gradient)| gradient.abs() > 1e-6);
        places.extend(some.map(|(place, &gradient)| (quantity, place, gradient)));
    }
    let mut points = Vec::new();
    for exponent in 0..=PER_DECADE * DECADES {
        let h = 10f64.powf(-2.0 - exponent as f64 / PER_DECADE as f64);
        let mut errors = [const { Vec::new() }; 3];
        for &(of, place, gradient) in &places {
            let near = double.central(of, place, h)?;
            let far = double.central(of, place, 2.0 * h)?;
            let single = single.central(of, place, h)?;
            for (errors, value) in errors
                .iter_mut()
                .zip([near, near + (near - far) / 3.0, single])
            {
                errors.push((value - gradient).abs() / gradient.abs());
            }
        }
        let [central, fourth_order, single] = errors.map(median);
        points.push(SweepPoint {
            step: h,
            central,
            fourth_order,
            single,
        });
    }
    Ok(Sweep {
        layer: case.layer.clone(),
        points,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
