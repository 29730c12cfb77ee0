//! Launches on the CPU, with their operands' values.

use std::sync::{Arc, LazyLock};

use diabolo::buffer::{Element, View};
use diabolo::device::cpu::{Cpu, Precision};
use diabolo::device::{Device, HostData};
use diabolo::kernels::Kernel;
use diabolo::kernels::host::{Products, Team};
use diabolo::plan::{Launch, PlanBuilder, RoutineId};
use proptest::test_runner::{TestCaseError, TestCaseResult};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::exact::Exact;

/// Two threads, so that work is shared out.
static TEAM: LazyLock<Arc<Team>> = LazyLock::new(|| Cpu::<f32>::team(2).expect("threads"));

/// Uniform numbers of [−1, 1) that f32 holds exactly, so that all precisions compute with the same.
pub fn uniform(len: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len)
        .map(|_| f64::from(rng.random_range(-1.0f32..1.0)))
        .collect()
}

/// Rounds to what f32 holds.
pub fn single(value: f64) -> f64 {
    f64::from(value as f32)
}

/// One routine and what its buffers hold before it runs.
pub struct Bench {
    plan: PlanBuilder,
    routine: RoutineId,
    reals: Vec<(View, Vec<f64>)>,
    indices: Vec<(View, Vec<u32>)>,
    bytes: Vec<(View, Vec<u8>)>,
}

impl Bench {
    pub fn new() -> Bench {
        let mut plan = PlanBuilder::new();
        let routine = plan.begin("test");
        Bench {
            plan,
            routine,
            reals: vec![],
            indices: vec![],
            bytes: vec![],
        }
    }

    pub fn given(&mut self, values: &[f64]) -> View {
        let view = self.plan.persistent("given", Element::Real, values.len());
        self.reals.push((view, values.to_vec()));
        view
    }

    /// Not a number until it is written.
    pub fn output(&mut self, len: usize) -> View {
        self.given(&vec![f64::NAN; len])
    }

    pub fn indices(&mut self, values: &[u32]) -> View {
        let view = self
            .plan
            .persistent("indices", Element::Index, values.len());
        self.indices.push((view, values.to_vec()));
        view
    }

    pub fn bytes(&mut self, values: &[u8]) -> View {
        let view = self.plan.persistent("bytes", Element::Byte, values.len());
        self.bytes.push((view, values.to_vec()));
        view
    }

    pub fn launch(&mut self, kernel: impl Kernel) {
        self.plan.launch("test", kernel);
    }

    pub fn run<T: Precision>(&self) -> Cpu<T> {
        self.run_with(Products::Tiles)
    }

    fn run_with<T: Precision>(&self, products: Products) -> Cpu<T> {
        let plan = Arc::new(self.plan.clone().finish(u64::MAX).expect("fits"));
        let mut device = Cpu::<T>::with_products(plan, TEAM.clone(), products);
        let mut write = |view, data| device.write(view, data).expect("fits");
        for (view, values) in &self.reals {
            write(*view, HostData::Double(values));
        }
        for (view, values) in &self.indices {
            write(*view, HostData::Index(values));
        }
        for (view, values) in &self.bytes {
            write(*view, HostData::Byte(values));
        }
        device.run(self.routine, 1).expect("runs");
        device
    }

    /// What f64 makes of it.
    pub fn values(&self, view: View) -> Vec<f64> {
        self.run::<f64>().reals(view).to_vec()
    }

    /// Runs in both precisions, with products by either code, and holds every output against what it
    /// should be.
    pub fn check(&self, outputs: &[(&str, View, &[Exact])]) -> TestCaseResult {
        self.check_with(Products::Tiles, outputs)?;
        let plan = self.plan.clone().finish(u64::MAX).expect("fits");
        let multiplies = |launch: &Launch| launch.kernel.product().is_some();
        if plan.launches(self.routine).iter().any(multiplies) {
            self.check_with(Products::Matrixmultiply, outputs)?;
        }
        Ok(())
    }

    fn check_with(&self, products: Products, outputs: &[(&str, View, &[Exact])]) -> TestCaseResult {
        let (single, double) = (
            self.run_with::<f32>(products),
            self.run_with::<f64>(products),
        );
        for &(name, view, expected) in outputs {
            let name = format!("{name} by {products:?}");
            compare(&name, single.reals(view), expected, SINGLE)?;
            // The definition's own arithmetic rounds as much as the device's.
            compare(&name, double.reals(view), expected, 2.0 * DOUBLE)?;
        }
        Ok(())
    }

    /// Likewise for indices, which must be right.
    pub fn check_indices(&self, name: &str, view: View, expected: &[u32]) -> TestCaseResult {
        let single = self.run::<f32>().read_index(view).expect("readable");
        let double = self.run::<f64>().read_index(view).expect("readable");
        if single != expected || double != expected {
            let message = format!("{name}: {single:?} in f32, {double:?} in f64, not {expected:?}");
            return Err(TestCaseError::fail(message));
        }
        Ok(())
    }
}

/// Unit roundoffs.
pub const SINGLE: f64 = 1.0 / (1u64 << 24) as f64;
pub const DOUBLE: f64 = 1.0 / (1u64 << 53) as f64;

/// Holds numbers against what they should be, at a unit roundoff.
pub fn compare<T: Precision>(
    name: &str,
    got: &[T],
    expected: &[Exact],
    unit: f64,
) -> TestCaseResult {
    assert_eq!(got.len(), expected.len(), "elements of {name}");
    // Where numbers end: the engine's eˣ goes no lower than 1.4 times this.
    let smallest = 2.0 * T::min_positive_value().to_double();
    for (i, (&got, &Exact { value, slack })) in got.iter().zip(expected).enumerate() {
        let allowed = unit * slack + smallest;
        let error = (got.to_double() - value).abs();
        // Neither a NaN nor a bound that is none may pass.
        let close = allowed.is_finite() && error <= allowed;
        if !close {
            return Err(TestCaseError::fail(format!(
                "{name}[{i}] = {got} in {}, not {value}: off by {error:e}, allowed {allowed:e}",
                T::NAME
            )));
        }
    }
    Ok(())
}
