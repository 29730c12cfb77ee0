//! Parameters, all in one flat buffer, so that an update of them is one launch.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{Columns, Layout};
use crate::buffer::{BufferId, View};
use crate::plan::PlanBuilder;

/// How a parameter starts out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with variance `gain / fan_in`: gain 2 before a ReLU (He et al., “Delving deep into
    /// rectifiers”, 2015), 1 before an identity or a sigmoid.
    Normal {
        /// 2 before a ReLU, else 1.
        gain: f64,
        /// Inputs that each output sums.
        fan_in: usize,
    },
    /// All the same.
    Constant(f64),
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// Learnt by gradient.
    Parameter,
    /// A running statistic.
    Running,
}

/// A named tensor of the model, as checkpoints hold it.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// PyTorch's name, such as `encoder.0.weight`.
    pub name: String,
    /// Where it lies.
    pub value: View,
    /// Layout against PyTorch's.
    pub layout: Layout,
    /// Parameter or statistic.
    pub role: Role,
    /// Its first value.
    pub init: Init,
}

/// A parameter's value and gradient, of one length.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Read by forward and backward, changed by an update.
    pub value: View,
    /// Written by backward.
    pub gradient: View,
}

/// The flat buffers behind the tensors of a model, or of a part of it that is updated by itself.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Tells these parameters from the model's others; empty if there are no others.
    pub name: String,
    /// Values of all parameters.
    pub values: BufferId,
    /// Their gradients, at the same offsets.
    pub gradients: BufferId,
    /// Running statistics.
    pub running: BufferId,
    /// Every tensor in order of declaration.
    pub tensors: Vec<Tensor>,
}

impl Parameters {
    /// Empty buffers in a plan, for all of a model's parameters.
    pub fn new(plan: &mut PlanBuilder) -> Self {
        Parameters::named(plan, "")
    }

    /// Empty buffers in a plan, for the parameters of a part of a model.
    pub fn named(plan: &mut PlanBuilder, name: &str) -> Self {
        let buffer = |what: &str| {
            if name.is_empty() {
                what.to_owned()
            } else {
                format!("{name}.{what}")
            }
        };
        Parameters {
            values: plan.growable(buffer("parameters")),
            gradients: plan.growable_gradients(buffer("gradients")),
            running: plan.growable(buffer("running")),
            name: name.to_owned(),
            tensors: Vec::new(),
        }
    }

    /// Where each parameter ends, counted from the first, as they lie one after the other.
    pub fn ends(&self) -> Vec<usize> {
        let values = self.tensors.iter().map(|tensor| tensor.value);
        let values = values.filter(|value| value.buffer == self.values);
        let first = values.clone().map(|value| value.offset).min().unwrap_or(0);
        values
            .map(|value| value.offset + value.len - first)
            .collect()
    }

    /// Declares a parameter of `len` elements.
    pub fn parameter(
        &mut self,
        plan: &mut PlanBuilder,
        name: String,
        len: usize,
        layout: Layout,
        init: Init,
    ) -> Parameter {
        let value = plan.grow(self.values, len);
        let gradient = plan.grow(self.gradients, len);
        self.tensors.push(Tensor {
            name,
            value,
            layout,
            role: Role::Parameter,
            init,
        });
        Parameter { value, gradient }
    }

    /// Declares a running statistic, one for each column.
    pub fn running(
        &mut self,
        plan: &mut PlanBuilder,
        name: String,
        columns: Columns,
        initial: f64,
    ) -> View {
        let value = plan.grow(self.running, columns.count());
        self.tensors.push(Tensor {
            name,
            value,
            layout: Layout::vector(columns),
            role: Role::Running,
            init: Init::Constant(initial),
        });
        value
    }
}

/// First values of every tensor, in order; the same for the same seed.
pub fn initial_values<'a>(
    tensors: impl IntoIterator<Item = &'a Tensor>,
    seed: u64,
) -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |tensor: &Tensor| match tensor.init {
        Init::Constant(value) => vec![value as f32; tensor.value.len],
        Init::Normal { gain, fan_in } => {
            let deviation = (gain / fan_in as f64).sqrt();
            let normals = StandardNormal.sample_iter(&mut rng).take(tensor.value.len);
            normals.map(|z: f64| (z * deviation) as f32).collect()
        }
    };
    tensors.into_iter().map(&mut draw).collect()
}
