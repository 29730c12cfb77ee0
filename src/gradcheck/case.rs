//! What is checked at a time, written down as a plan.

use std::ops::Range;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::buffer::{Element, View};
use crate::device::{Device, DeviceError, HostData};
use crate::layers::{Init, Layer, Mode, Parameters, Role};
use crate::plan::{Plan, PlanBuilder, RoutineId};

use super::Mistake;

/// A function with one number as its value, ⟨projection, output⟩, and its hand-written gradient.
pub struct Case {
    /// What is checked, such as `dense + bias + relu`.
    pub layer: String,
    /// What it belongs to, such as `dense` or a recipe's name: what a user selects.
    pub kind: String,
    pub(super) plan: PlanBuilder,
    pub(super) forward: RoutineId,
    /// Forward and backward.
    pub(super) backward: RoutineId,
    /// Everything that is read before it is written, and where its values are drawn from.
    pub(super) inputs: Vec<(View, Range<f32>)>,
    pub(super) output: View,
    /// What backward starts from, if it does not start from a loss: the projection.
    pub(super) dy: Option<View>,
    pub(super) quantities: Vec<Quantity>,
}

/// Where a case's function is differentiated. In `f32`, so that every device has the same values.
pub(super) struct Point {
    inputs: Vec<(View, Vec<f32>)>,
    pub(super) projection: Vec<f32>,
}

/// Something with a gradient.
#[derive(Clone, Debug)]
pub(super) struct Quantity {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) values: View,
    pub(super) gradient: View,
}

/// A plan's clock and the one loss it notes.
pub(super) fn loss_buffers(plan: &mut PlanBuilder) -> (View, View) {
    let clock = plan.persistent("clock", Element::Index, 2);
    (clock, plan.persistent("losses", Element::Real, 1))
}

/// The learnt tensors as quantities, and where the values of all tensors are drawn from.
pub(super) fn parameters(parameters: &Parameters) -> (Vec<Quantity>, Vec<(View, Range<f32>)>) {
    let (mut quantities, mut inputs) = (Vec::new(), Vec::new());
    for tensor in &parameters.tensors {
        // Around its first value, but nowhere at it: γ = 1 and β = 0 would hide mistakes.
        let (centre, reach) = match tensor.init {
            Init::Constant(centre) => (centre as f32, 0.5),
            Init::Normal { gain, fan_in } => (0.0, (3.0 * gain / fan_in as f64).sqrt() as f32),
        };
        inputs.push((tensor.value, centre - reach..centre + reach));
        if tensor.role == Role::Parameter {
            quantities.push(Quantity {
                name: tensor.name.clone(),
                shape: tensor.layout.shape().to_vec(),
                values: tensor.value,
                gradient: View {
                    buffer: parameters.gradients,
                    ..tensor.value
                },
            });
        }
    }
    (quantities, inputs)
}

impl Case {
    /// One layer on an input of `shape`, whose last axis is the columns.
    pub(super) fn layer(
        kind: &str,
        layer: String,
        shape: &[usize],
        make: impl Fn(&mut PlanBuilder, &mut Parameters) -> Box<dyn Layer>,
    ) -> Case {
        let cols = shape[shape.len() - 1];
        let len: usize = shape.iter().product();
        let mut plan = PlanBuilder::new();
        let mut declared = Parameters::new(&mut plan);
        let made = make(&mut plan, &mut declared);
        let x = plan
            .persistent("x", Element::Real, len)
            .matrix(len / cols, cols);

        let forward = plan.begin("forward");
        let y = made.forward(&mut plan, x, Mode::Training).y;
        plan.keep(y.view);
        let dy = plan
            .persistent("dy", Element::Real, y.view.len)
            .matrix(y.rows, y.cols);
        let backward = plan.begin("backward");
        let saved = made.forward(&mut plan, x, Mode::Training);
        let dx = made
            .backward(&mut plan, &saved, dy, true)
            .expect("asked for");
        plan.keep(dx.view);

        let (learnt, mut inputs) = parameters(&declared);
        inputs.push((x.view, -1.0..1.0));
        let mut quantities = vec![Quantity {
            name: "x".to_owned(),
            shape: shape.to_vec(),
            values: x.view,
            gradient: dx.view,
        }];
        quantities.extend(learnt);
        Case {
            layer,
            kind: kind.to_owned(),
            plan,
            forward,
            backward,
            inputs,
            output: y.view,
            dy: Some(dy.view),
            quantities,
        }
    }

    /// The plan, ready to load.
    pub(super) fn sound(&self) -> Arc<Plan> {
        finish(self.plan.clone())
    }

    /// The plan with a mistake in its backward. None if this case has no place for it.
    pub(super) fn planted(&self, mistake: &Mistake) -> Option<Arc<Plan>> {
        mistake.plant(&self.plan, self.backward).map(finish)
    }

    /// A random point.
    pub(super) fn point(&self, seed: u64) -> Point {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |len: usize, range: &Range<f32>| -> Vec<f32> {
            (0..len).map(|_| rng.random_range(range.clone())).collect()
        };
        let inputs = self.inputs.iter();
        let mut inputs: Vec<_> = inputs
            .map(|(view, range)| (*view, draw(view.len, range)))
            .collect();
        let projection = match self.dy {
            None => vec![1.0],
            Some(dy) => {
                let projection = draw(dy.len, &(-1.0..1.0));
                inputs.push((dy, projection.clone()));
                projection
            }
        };
        Point { inputs, projection }
    }

    /// Every quantity's hand-written gradient.
    pub(super) fn gradients(&self, device: &mut dyn Device) -> Result<Vec<Vec<f64>>, DeviceError> {
        let quantities = self.quantities.iter();
        quantities
            .map(|quantity| device.read_double(quantity.gradient))
            .collect()
    }
}

fn finish(plan: PlanBuilder) -> Arc<Plan> {
    Arc::new(plan.finish(u64::MAX).expect("no limit"))
}

impl Point {
    /// Writes all values.
    pub(super) fn load(&self, device: &mut dyn Device) -> Result<(), DeviceError> {
        for (view, values) in &self.inputs {
            device.write(*view, HostData::Real(values))?;
        }
        Ok(())
    }

    /// What has values.
    pub(super) fn views(&self) -> impl Iterator<Item = View> + '_ {
        self.inputs.iter().map(|(view, _)| *view)
    }
}
