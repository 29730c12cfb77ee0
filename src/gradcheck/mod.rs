//! Gradient checks: is every hand-written backward the derivative of its forward?
//!
//! A [`Case`] is a function f of inputs, weights and biases with one number as its value: a layer
//! behind a random projection, ⟨r, layer(x)⟩, so that dy = r; or a loss; or a whole model with its loss.
//!
//! **In f64 on the CPU** the gradient is compared with central differences (see `differences.rs`),
//! which know nothing of the backward. **In f32, on the CPU and on GPUs**, differences would drown in
//! rounding; there the very same backward is compared with the f64 gradient at the same point, to
//! within what rounding can explain ([`crate::rounding`]).
//!
//! Errors are relative: of a difference to the larger of both numbers, and at least to a hundredth of
//! the quantity's largest gradient; of an f32 gradient to the quantity's largest. Where a gradient
//! vanishes but for rounding, as β's does when the next batch norm takes the mean away again, the
//! scale is a thousandth of the largest gradient of the case.
//!
//! A check is as good as the mistakes it finds: [`MISTAKES`] can be planted into the backward.

mod case;
mod cases;
mod differences;
mod geometry;
mod mistake;

pub use case::{Case, Input};
pub use cases::{layer_cases, layer_names, model_case};
pub use differences::{Sweep, SweepPoint, sweep};
pub use geometry::Geometry;
pub use mistake::{MISTAKES, Mistake};

use std::sync::Arc;

use crate::kernels::host::Team;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::device::cpu::Cpu;
use crate::device::{Backend, Device, DeviceError};
use crate::plan::Plan;
use crate::rounding::{Disturber, MARGIN, largest};
use crate::scalar::EPSILON;

use case::Point;
use differences::{Function, TOLERANCE};

/// Runs whose results show how far rounding carries.
const DISTURBED_RUNS: u64 = 8;
/// The farthest, relative to its largest, that a gradient may move at a point worth checking.
const GENERIC: f64 = 1e-4;
/// Elements of a larger quantity that differences are taken of.
const MOST_POINTS: usize = 40;

/// One quantity of one case on one device.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The case, such as `dense + relu`.
    pub layer: String,
    /// What the case belongs to, such as `dense`.
    #[serde(skip)]
    pub kind: String,
    /// What the gradient is taken by, such as `x` or `dense.weight`.
    pub quantity: String,
    /// `cpu-f64`, `cpu-f32`, `gpu`, …
    pub device: String,
    /// Shape of the quantity.
    pub shape: Vec<usize>,
    /// Elements compared.
    pub checked: usize,
    /// Elements without a derivative to compare with: at a kink, or too small for differences.
    pub skipped: usize,
    /// The largest relative error; see the [module](self).
    pub max_rel_error: f64,
    /// What it may be.
    pub tolerance: f64,
    /// Whether all is well.
    pub pass: bool,
    /// What is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// Where the error is largest.
    pub worst: Option<Worst>,
}

/// Why a check fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// An error is larger than is allowed.
    Wrong,
    /// More elements were skipped than compared, so little was checked.
    TooFewCompared,
    /// No point was found at which rounding leaves enough of the gradient to check it.
    LostInRounding,
}

/// The element with the largest error.
#[derive(Clone, Debug, Serialize)]
pub struct Worst {
    /// One number per axis.
    pub index: Vec<usize>,
    /// By differences, or in f64.
    pub expected: f64,
    /// By the backward that is checked.
    pub got: f64,
}

/// A device under the name that rows call it by.
#[derive(Clone)]
pub struct Named {
    /// `cpu-f64`, `cpu-f32`, `gpu`, …
    pub name: String,
    /// The device.
    pub backend: Backend,
}

/// Checks a case on each device, with a mistake planted into the backward if one is given.
///
/// Returns no rows if the case has no place for the mistake.
/// `seed` draws the point.
pub fn check(
    case: &Case,
    seed: u64,
    mistake: Option<&Mistake>,
    devices: &[Named],
) -> Result<Vec<Row>, DeviceError> {
    // Thousands of small runs: one thread each, and cases side by side.
    let team = &Cpu::<f64>::team(1)?;
    let sound = case.sound();
    let suspect = match mistake {
        None => sound.clone(),
        Some(mistake) => match case.planted(mistake) {
            None => return Ok(Vec::new()),
            Some(planted) => planted,
        },
    };
    let (point, truth) = generic_point(team, case, seed, sound)?;
    let mut rows = Vec::new();
    for Named { name, backend } in devices {
        let mut device = backend.load(suspect.clone())?;
        point.load(device.as_mut())?;
        device.run(case.backward, 1)?;
        let gradients = case.gradients(device.as_mut())?;
        let verdicts = match backend {
            Backend::CpuDouble(_) => {
                let function = Function::<f64>::new(team, case, &point, suspect.clone())?;
                by_differences(case, seed, function, &gradients)?
            }
            _ => truth.compare(&gradients),
        };
        let quantities = case.quantities.iter().zip(verdicts);
        rows.extend(quantities.map(|(quantity, verdict)| Row {
            layer: case.layer.clone(),
            kind: case.kind.clone(),
            quantity: quantity.name.clone(),
            device: name.clone(),
            shape: quantity.shape.clone(),
            checked: verdict.checked,
            skipped: verdict.skipped,
            max_rel_error: verdict.error,
            tolerance: verdict.tolerance,
            pass: verdict.trouble().is_none(),
            trouble: verdict.trouble(),
            worst: verdict.worst.map(|(place, expected, got)| Worst {
                index: index(&quantity.shape, place),
                expected,
                got,
            }),
        }));
    }
    Ok(rows)
}

/// An element's number as one index per axis, row-major.
fn index(shape: &[usize], mut place: usize) -> Vec<usize> {
    let mut index: Vec<usize> = Vec::new();
    for side in shape.iter().rev() {
        index.push(place % side);
        place /= side;
    }
    index.reverse();
    index
}

/// What the comparison of one quantity came to.
struct Verdict {
    checked: usize,
    skipped: usize,
    error: f64,
    tolerance: f64,
    /// Element, expected, got.
    worst: Option<(usize, f64, f64)>,
}

impl Verdict {
    fn new(tolerance: f64) -> Self {
        Verdict {
            checked: 0,
            skipped: 0,
            error: 0.0,
            tolerance,
            worst: None,
        }
    }

    /// Compares one element, relative to `size`.
    fn compare(&mut self, place: usize, expected: f64, got: f64, size: f64) {
        self.checked += 1;
        let error = (got - expected).abs() / size;
        // A NaN is the largest error there is, and JSON has no infinity.
        let error = if error.is_finite() { error } else { f64::MAX };
        if error > self.error || self.worst.is_none() {
            self.error = error;
            self.worst = Some((place, expected, got));
        }
    }

    /// What is wrong with it.
    fn trouble(&self) -> Option<Trouble> {
        if self.error > self.tolerance {
            Some(Trouble::Wrong)
        } else if self.tolerance > MARGIN * (GENERIC + EPSILON) {
            Some(Trouble::LostInRounding)
        } else if self.checked == 0 || self.skipped > self.checked {
            Some(Trouble::TooFewCompared)
        } else {
            None
        }
    }
}

/// The largest gradient of each quantity, none below a thousandth of the case's.
fn scales(gradients: &[Vec<f64>]) -> Vec<f64> {
    let each: Vec<f64> = gradients.iter().map(|values| largest(values)).collect();
    let floor = 1e-3 * largest(&each).max(f64::MIN_POSITIVE);
    each.into_iter().map(|scale| scale.max(floor)).collect()
}

/// Compares gradients in f64 with central differences of the function.
fn by_differences(
    case: &Case,
    seed: u64,
    mut function: Function<f64>,
    gradients: &[Vec<f64>],
) -> Result<Vec<Verdict>, DeviceError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut verdicts = Vec::new();
    let compared = case.quantities.iter().zip(gradients).zip(scales(gradients));
    for ((quantity, gradient), scale) in compared {
        let mut verdict = Verdict::new(TOLERANCE);
        let mut places =
            sample(&mut rng, gradient.len(), MOST_POINTS.min(gradient.len())).into_vec();
        places.sort_unstable();
        for place in places {
            let least = 1e-2 * scale;
            match function.derivative(quantity, place, scale, least)? {
                None => verdict.skipped += 1,
                Some(expected) => {
                    let got = gradient[place];
                    let size = got.abs().max(expected.abs()).max(least);
                    verdict.compare(place, expected, got, size);
                }
            }
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

/// A random point at which rounding moves no gradient far. Where it does, a ReLU's input or the
/// difference of two maxima is 0 but for rounding, or terms cancel; such a point would show little,
/// and another is drawn.
fn generic_point(
    team: &Arc<Team>,
    case: &Case,
    seed: u64,
    plan: Arc<Plan>,
) -> Result<(Point, Truth), DeviceError> {
    const DRAWS: u64 = 20;
    let mut best: Option<(f64, Point, Truth)> = None;
    for draw in 0..DRAWS {
        let point = case.point(seed.wrapping_mul(DRAWS).wrapping_add(draw));
        let truth = Truth::new(team, case, &point, plan.clone())?;
        let farthest = truth.farthest();
        if best.as_ref().is_none_or(|(least, ..)| farthest < *least) {
            best = Some((farthest, point, truth));
        }
        if farthest <= GENERIC {
            break;
        }
    }
    let (_, point, truth) = best.expect("at least one was drawn");
    Ok((point, truth))
}

/// The gradients in f64, and how far rounding in f32 may carry from them.
struct Truth {
    gradients: Vec<Vec<f64>>,
    /// What each quantity's errors are relative to.
    scales: Vec<f64>,
    /// How far each quantity moved, relative to its scale.
    moved: Vec<f64>,
}

impl Truth {
    fn new(
        team: &Arc<Team>,
        case: &Case,
        point: &Point,
        plan: Arc<Plan>,
    ) -> Result<Truth, DeviceError> {
        let mut device = Cpu::<f64>::new(plan, team.clone());
        point.load(&mut device)?;
        device.run(case.backward, 1)?;
        let gradients = case.gradients(&mut device)?;
        let scales = scales(&gradients);
        let mut moved = vec![0.0f64; gradients.len()];
        for seed in 0..DISTURBED_RUNS {
            let mut disturber = Disturber::new(seed);
            point.load(&mut device)?;
            for view in point.views() {
                disturber.disturb(device.reals_mut(view), EPSILON);
            }
            disturber.run(&mut device, case.backward)?;
            let disturbed = case.gradients(&mut device)?;
            for (index, scale) in scales.iter().enumerate() {
                for (a, b) in disturbed[index].iter().zip(&gradients[index]) {
                    moved[index] = moved[index].max((a - b).abs() / scale);
                }
            }
        }
        Ok(Truth {
            gradients,
            scales,
            moved,
        })
    }

    /// The most that any quantity moved.
    fn farthest(&self) -> f64 {
        largest(&self.moved)
    }

    /// Compares a device's gradients with these.
    fn compare(&self, gradients: &[Vec<f64>]) -> Vec<Verdict> {
        let compare = |index: usize| {
            // Even a value that is only handed on is rounded once.
            let mut verdict = Verdict::new(MARGIN * (self.moved[index] + EPSILON));
            let values = self.gradients[index].iter().zip(&gradients[index]);
            for (place, (&expected, &got)) in values.enumerate() {
                verdict.compare(place, expected, got, self.scales[index]);
            }
            verdict
        };
        (0..gradients.len()).map(compare).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Activation, Window};
    use crate::layers::{ActivationLayer, Layer, MaxPool2d};

    /// A layer that has a kink where its inputs are equal, on inputs from ± `reach`.
    fn case(reach: f32, layer: impl Layer) -> Case {
        let mut case = Case::layer("kink", "kink".to_owned(), &[2, 4, 4, 3], |_, _| layer);
        let Input::Reals(_, range) = &mut case.inputs[0] else {
            panic!("x");
        };
        *range = -reach..reach;
        case
    }

    fn relu(reach: f32) -> Case {
        let (name, activation) = ("relu".to_owned(), Activation::Relu);
        case(reach, ActivationLayer { name, activation })
    }

    fn max_pool(reach: f32) -> Case {
        let window = Window {
            size: [4; 2],
            kernel: [2; 2],
            stride: [2; 2],
            padding: [0; 2],
            dilation: [1; 2],
        };
        let name = "pool".to_owned();
        case(reach, MaxPool2d { name, window })
    }

    fn in_f64(case: &Case) -> Row {
        let backend = Backend::CpuDouble(Cpu::<f64>::team(1).expect("a thread"));
        let name = "cpu-f64".to_owned();
        let rows = check(case, 0, None, &[Named { name, backend }]).expect("runs");
        rows.into_iter().next().expect("the input")
    }

    #[test]
    fn a_check_that_skipped_everything_fails() {
        for case in [relu(1e-9), max_pool(1e-9)] {
            let row = in_f64(&case);
            assert_eq!((row.checked, row.skipped), (0, MOST_POINTS), "{row:?}");
            assert_eq!(row.trouble, Some(Trouble::TooFewCompared));
        }
    }

    #[test]
    fn kinks_are_skipped_and_counted_and_the_rest_is_right() {
        // The narrowest two widths reach 2e-5 to either side: about a fifth of these are nearer to 0.
        let row = in_f64(&relu(1e-4));
        assert!(
            row.pass && row.skipped > 0 && row.checked > row.skipped,
            "{row:?}"
        );
        // A point far from every kink skips nothing.
        for case in [relu(1.0), max_pool(1.0)] {
            let row = in_f64(&case);
            assert!(row.pass && row.skipped == 0, "{row:?}");
        }
    }

    #[test]
    fn a_gradient_that_is_not_a_number_fails() {
        let mut verdict = Verdict::new(1e-6);
        verdict.compare(0, 1.0, 1.0, 1.0);
        assert_eq!(verdict.trouble(), None);
        verdict.compare(1, 1.0, f64::NAN, 1.0);
        verdict.compare(2, 1.0, 1.0, 1.0);
        assert_eq!(verdict.trouble(), Some(Trouble::Wrong));
    }

    #[test]
    fn a_tolerance_that_a_wrong_gradient_could_meet_passes_nothing() {
        let mut verdict = Verdict::new(1e-2);
        verdict.compare(0, 1.0, 1.0, 1.0);
        assert_eq!(verdict.trouble(), Some(Trouble::LostInRounding));
    }

    #[test]
    fn an_element_is_found_by_its_row_major_index() {
        assert_eq!(index(&[2, 3, 4], 23), [1, 2, 3]);
        assert_eq!(index(&[2, 3, 4], 5), [0, 1, 1]);
    }
}
