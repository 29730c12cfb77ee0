//! What is checked at a time, written down as a plan.

use std::ops::Range;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::buffer::{Element, View};
use crate::device::{Device, DeviceError, HostData};
use crate::emit::{Emission, Emitter, Gradient, Init, Mode, Parameters, Role, Tensor};
use crate::layers::Layer;
use crate::plan::{Plan, PlanBuilder, RoutineId};

use super::Mistake;

/// A function with one number as its value, and its hand-written gradient. The value is a sum of outputs
/// times weights: a layer's outputs times random numbers, or the notes of a step.
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
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    pub(super) quantities: Vec<Quantity>,
}

/// A view that the function reads, and where its values are drawn from.
#[derive(Clone, Debug)]
pub enum Input {
    /// Reals of a range.
    Reals(View, Range<f32>),
    /// Labels below a number of classes; the first image has none, if there are several.
    Labels(View, u32),
}

/// A part of the function's value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) view: View,
    pub(super) weight: Weight,
    /// The turn whose gradients it has.
    pub(super) turn: usize,
}

/// What an output is multiplied by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Weight {
    /// Random numbers, the gradient that backward starts from.
    Random(View),
    /// The weight of a note.
    Fixed(f64),
}

/// Where a case's function is differentiated. In `f32`, so that every device has the same values.
pub(super) struct Point {
    reals: Vec<(View, Vec<f32>)>,
    labels: Vec<(View, Vec<u32>)>,
    /// For each output, what its elements are multiplied by.
    pub(super) weights: Vec<Vec<f64>>,
}

/// Something with a gradient.
#[derive(Clone, Debug)]
pub(super) struct Quantity {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) values: View,
    pub(super) gradient: View,
    /// The turn whose loss it is the gradient of.
    pub(super) turn: usize,
}

/// Where a tensor's values are drawn from: around its first value, but nowhere at it, for γ = 1 and
/// β = 0 would hide mistakes.
fn range(tensor: &Tensor) -> Range<f32> {
    let (centre, reach) = match tensor.init {
        Init::Constant(centre) => (centre as f32, 0.5),
        Init::Normal { gain, fan_in } => (0.0, (3.0 * gain / fan_in as f64).sqrt() as f32),
    };
    centre - reach..centre + reach
}

/// The learnt tensors whose gradients were copied.
fn quantities(emission: &Emission, parameters: &[&Parameters]) -> Vec<Quantity> {
    let mut quantities = Vec::new();
    for part in parameters {
        let mut witnesses = emission.witnesses().iter();
        let Some(witness) = witnesses.find(|witness| witness.parameters == part.values) else {
            continue; // frozen
        };
        let first = emission.plan.whole(part.values).offset;
        let learnt = part.tensors.iter();
        let learnt = learnt.filter(|tensor| tensor.role == Role::Parameter);
        quantities.extend(learnt.map(|tensor| {
            Quantity {
                name: tensor.name.clone(),
                shape: tensor.layout.shape().to_vec(),
                values: tensor.value,
                gradient: witness
                    .gradients
                    .part(tensor.value.offset - first, tensor.value.len),
                turn: witness.turn,
            }
        }));
    }
    quantities
}

impl Case {
    /// One layer on an input of `shape`, whose last axis is the columns, behind a random projection
    /// ⟨r, layer(x)⟩, so that dy = r. `make` declares the layer's parameters.
    pub fn layer<L: Layer>(
        kind: &str,
        layer: String,
        shape: &[usize],
        make: impl FnOnce(&mut PlanBuilder, &mut Parameters) -> L,
    ) -> Case {
        let cols = shape[shape.len() - 1];
        let len: usize = shape.iter().product();
        let mut emission = Emission::of_gradients(PlanBuilder::new(), 0);
        let plan = &mut emission.plan;
        let mut declared = Parameters::new(plan);
        let made = make(plan, &mut declared);
        let clock = plan.persistent("clock", Element::Index, 2);
        let x = plan
            .persistent("x", Element::Real, len)
            .matrix(len / cols, cols);

        let mut e = emission.begin_step("forward", Mode::Training, clock, 1);
        let (y, _) = made.forward(&mut e, x);
        e.keep(y.view);
        let forward = e.end().routine;
        let dy = emission
            .plan
            .persistent("dy", Element::Real, y.view.len)
            .matrix(y.rows, y.cols);
        emission.rewind();
        let mut e = emission.begin_step("backward", Mode::Training, clock, 1);
        let (_, saved) = made.forward(&mut e, x);
        let dx = made.backward(&mut e, saved, Gradient::new(dy)).matrix();
        e.keep(dx.view);
        e.update(&declared);
        let backward = e.end().routine;

        let mut all = vec![Quantity {
            name: "x".to_owned(),
            shape: shape.to_vec(),
            values: x.view,
            gradient: dx.view,
            turn: 0,
        }];
        all.extend(quantities(&emission, &[&declared]));
        let tensors = declared.tensors.iter();
        let mut inputs = vec![Input::Reals(x.view, -1.0..1.0)];
        inputs.extend(tensors.map(|tensor| Input::Reals(tensor.value, range(tensor))));
        Case {
            layer,
            kind: kind.to_owned(),
            plan: emission.plan,
            forward,
            backward,
            inputs,
            outputs: vec![Output {
                view: y.view,
                weight: Weight::Random(dy.view),
                turn: 0,
            }],
            quantities: all,
        }
    }

    /// A step that `emit` appends: the sum of its notes, by their weights, and the gradients of all
    /// parameters that it updates. `emission` is one [of gradients](Emission::of_gradients), in which
    /// `parameters` and `inputs` are declared.
    pub fn step(
        kind: &str,
        layer: String,
        mut emission: Emission,
        parameters: &[&Parameters],
        mut inputs: Vec<Input>,
        emit: impl FnOnce(&mut Emitter),
    ) -> Case {
        let clock = emission.plan.persistent("clock", Element::Index, 2);
        let mut e = emission.begin_step("step", Mode::Training, clock, 1);
        emit(&mut e);
        let emitted = e.end();
        let tensors = parameters.iter().flat_map(|part| &part.tensors);
        inputs.extend(tensors.map(|tensor| Input::Reals(tensor.value, range(tensor))));
        let notes = emitted.notes.iter();
        let notes = notes.filter(|note| note.weight != 0.0);
        Case {
            layer,
            kind: kind.to_owned(),
            forward: emitted.routine,
            backward: emitted.routine,
            inputs,
            outputs: notes
                .map(|note| Output {
                    view: note.values,
                    weight: Weight::Fixed(note.weight),
                    turn: note.turn,
                })
                .collect(),
            quantities: quantities(&emission, parameters),
            plan: emission.plan,
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
        let (mut reals, mut labels) = (Vec::new(), Vec::new());
        for input in &self.inputs {
            match input {
                Input::Reals(view, range) => reals.push((*view, draw(view.len, range))),
                Input::Labels(view, classes) => {
                    let range = 0.0..*classes as f32;
                    let drawn = draw(view.len, &range).into_iter();
                    let mut drawn: Vec<u32> = drawn.map(|label| label as u32).collect();
                    if drawn.len() > 1 {
                        drawn[0] = u32::MAX;
                    }
                    labels.push((*view, drawn));
                }
            }
        }
        let outputs = self.outputs.iter().map(|output| match output.weight {
            Weight::Fixed(weight) => vec![weight],
            Weight::Random(dy) => {
                let drawn = draw(dy.len, &(-1.0..1.0));
                let weights = drawn.iter().map(|&weight| weight.into()).collect();
                reals.push((dy, drawn));
                weights
            }
        });
        let weights = outputs.collect();
        Point {
            reals,
            labels,
            weights,
        }
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
        for (view, values) in &self.reals {
            device.write(*view, HostData::Real(values))?;
        }
        for (view, values) in &self.labels {
            device.write(*view, HostData::Index(values))?;
        }
        Ok(())
    }

    /// Whatever has real values.
    pub(super) fn views(&self) -> impl Iterator<Item = View> + '_ {
        self.reals.iter().map(|(view, _)| *view)
    }
}
