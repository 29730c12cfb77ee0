//! One launch on every kind of device, with canaries around whatever it writes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use diabolo::buffer::{Element, View};
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::{Gpu, GpuContext, GpuOptions};
use diabolo::device::{Device, HostData};
use diabolo::kernels::{AnyKernel, Kernel};
use diabolo::plan::{Plan, PlanBuilder, RoutineId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::common::adapter;

pub const CANARY: f32 = -12345.678;
pub const CANARY_INDEX: u32 = 0xCAFE_F00D;
/// Elements before and, at least, after a view.
pub const GUARD: usize = 64;

/// Kernels that were compared, by name.
pub struct Compared {
    /// On the CPU and a GPU in f32, with the CPU in f64.
    pub devices: BTreeSet<&'static str>,
    /// On the CPU in f64, with their definition.
    pub definition: BTreeSet<&'static str>,
}

/// By all tests of this process so far.
pub static COMPARED: Mutex<Compared> = Mutex::new(Compared {
    devices: BTreeSet::new(),
    definition: BTreeSet::new(),
});

/// An adapter, opened twice.
pub struct Adapter {
    /// With shaders as they are shipped: the driver trusts their indices.
    pub shipped: Arc<GpuContext>,
    /// With every index checked.
    checked: Arc<GpuContext>,
}

/// An adapter, if there is one.
pub fn gpu() -> Option<Adapter> {
    let open = |checked| {
        adapter::gpu(GpuOptions {
            checked,
            ..GpuOptions::default()
        })
    };
    Some(Adapter {
        shipped: open(false)?,
        checked: open(true)?,
    })
}

/// One launch with its operands' values.
pub struct Case {
    pub plan: PlanBuilder,
    pub rng: ChaCha8Rng,
    pub reals: Vec<(View, Vec<f32>)>,
    indices: Vec<(View, Vec<u32>)>,
    pub bytes: Vec<(View, Vec<u8>)>,
}

impl Case {
    pub fn new(seed: usize) -> Case {
        Case {
            plan: PlanBuilder::new(),
            rng: ChaCha8Rng::seed_from_u64(seed as u64),
            reals: vec![],
            indices: vec![],
            bytes: vec![],
        }
    }

    /// A view of `len` elements with canaries around it.
    pub fn guarded(&mut self, name: &str, element: Element, len: usize) -> View {
        let total = (len + 2 * GUARD).next_multiple_of(4);
        let whole = self.plan.persistent(name, element, total);
        match element {
            Element::Real => self.reals.push((whole, vec![CANARY; total])),
            Element::Index => self.indices.push((whole, vec![CANARY_INDEX; total])),
            Element::Byte => unreachable!("bytes are never written"),
        }
        whole.part(GUARD, len)
    }

    /// Random reals in a range.
    pub fn uniform(&mut self, name: &str, len: usize, range: std::ops::Range<f32>) -> View {
        let view = self.guarded(name, Element::Real, len);
        let values: Vec<f32> = (0..len)
            .map(|_| self.rng.random_range(range.clone()))
            .collect();
        self.reals.push((view, values));
        view
    }

    pub fn real(&mut self, name: &str, len: usize) -> View {
        self.uniform(name, len, -1.0..1.0)
    }

    pub fn output(&mut self, name: &str, len: usize) -> View {
        self.guarded(name, Element::Real, len)
    }

    pub fn index(&mut self, name: &str, values: Vec<u32>) -> View {
        let view = self.guarded(name, Element::Index, values.len());
        self.indices.push((view, values));
        view
    }

    fn load(&self, device: &mut dyn Device) {
        let mut write = |view, data| device.write(view, data).expect("fits");
        self.reals
            .iter()
            .for_each(|(view, v)| write(*view, HostData::Real(v)));
        self.indices
            .iter()
            .for_each(|(view, v)| write(*view, HostData::Index(v)));
        self.bytes
            .iter()
            .for_each(|(view, v)| write(*view, HostData::Byte(v)));
    }

    /// What the kernel makes of absolute values, in f64: of a kernel of products and sums, for each
    /// element of `output` the sum of its terms' absolute values.
    pub fn magnitudes(&self, kernel: impl Kernel, output: View) -> Vec<f64> {
        let mut plan = self.plan.clone();
        let routine = plan.begin("magnitudes");
        plan.launch("magnitudes", kernel);
        let plan = Arc::new(plan.finish(u64::MAX).expect("fits"));
        let mut device = Cpu::<f64>::new(plan, Cpu::<f64>::team(1).expect("a thread"));
        for (view, values) in &self.reals {
            let absolute: Vec<f32> = values.iter().map(|value| value.abs()).collect();
            device
                .write(*view, HostData::Real(&absolute))
                .expect("fits");
        }
        device.run(routine, 1).expect("runs");
        device.reals(output).to_vec()
    }

    pub fn finish(mut self, kernel: impl Kernel) -> Ready {
        let kernel: Arc<dyn AnyKernel> = Arc::new(kernel);
        let routine = self.plan.begin("test");
        self.plan.launch_any("test", kernel.clone());
        let plan = std::mem::take(&mut self.plan)
            .finish(u64::MAX)
            .expect("fits");
        let plan = Arc::new(plan);
        Ready {
            case: self,
            plan,
            routine,
            kernel,
        }
    }
}

pub struct Ready {
    case: Case,
    pub plan: Arc<Plan>,
    routine: RoutineId,
    kernel: Arc<dyn AnyKernel>,
}

impl Ready {
    pub fn run(&self, device: &mut dyn Device) {
        self.case.load(device);
        device.run(self.routine, 1).expect("runs");
    }

    /// Runs on the CPU and the GPU in f32 and compares every written operand with the CPU in f64.
    /// `tolerance(operand, index, expected)` is absolute. On the GPU, shaders that check every
    /// index must give the very bits of those that do not.
    pub fn compare(&self, adapter: &Adapter, tolerance: impl Fn(&str, usize, f64) -> f64) {
        let pool = Cpu::<f32>::team(2).expect("threads");
        let load = |context: &Arc<GpuContext>| {
            Gpu::new(context.clone(), self.plan.clone()).expect("loads")
        };
        let mut reference = Cpu::<f64>::new(self.plan.clone(), pool.clone());
        let mut cpu = Cpu::<f32>::new(self.plan.clone(), pool);
        let mut gpu = load(&adapter.shipped);
        let mut checked = load(&adapter.checked);
        let devices: [&mut dyn Device; 4] = [&mut reference, &mut cpu, &mut gpu, &mut checked];
        devices.into_iter().for_each(|device| self.run(device));

        for operand in self.kernel.operands() {
            if !operand.is_written() {
                continue;
            }
            let (view, name) = (operand.view, operand.name);
            let devices: [(&str, &mut dyn Device); 2] = [("cpu", &mut cpu), ("gpu", &mut gpu)];
            for (device_name, device) in devices {
                let what = format!("{} on {device_name}: {name}", self.kernel.name());
                self.check_canaries(device, view, &what);
                if self.plan.buffer(view).element == Element::Index {
                    let expected = reference.read_index(view).expect("readable");
                    let got = device.read_index(view).expect("readable");
                    assert_eq!(got, expected, "{what}");
                    continue;
                }
                let got = device.read_real(view).expect("readable");
                for (i, (&expected, &got)) in reference.reals(view).iter().zip(&got).enumerate() {
                    let allowed = tolerance(name, i, expected);
                    let error = (f64::from(got) - expected).abs();
                    // Infinities are equal, though their difference is no number.
                    let equal = f64::from(got) == expected;
                    assert!(
                        equal || error <= allowed,
                        "{what}[{i}] = {got}, expected {expected}: off by {error:e}, allowed {allowed:e}; {:?}",
                        self.kernel
                    );
                }
            }
            let [trusted, checked] = [&mut gpu, &mut checked].map(|gpu| self.bits(gpu, view));
            let what = self.kernel.name();
            assert!(trusted == checked, "{what}: {name} differs when checked");
        }
        let mut compared = COMPARED.lock().expect("no test panics with it");
        compared.devices.insert(self.kernel.name());
    }

    /// Values that were given for a view.
    pub fn given(&self, view: View) -> Vec<f64> {
        let mut given = self.case.reals.iter().rev();
        let (_, values) = given.find(|(of, _)| *of == view).expect("given");
        values.iter().map(|&value| value.into()).collect()
    }

    /// Runs on the CPU in f64. Returns what a view holds then.
    pub fn doubles(&self, view: View) -> Vec<f64> {
        let team = Cpu::<f64>::team(2).expect("threads");
        let mut device = Cpu::<f64>::new(self.plan.clone(), team);
        self.run(&mut device);
        device.reals(view).to_vec()
    }

    /// Runs on the CPU. Returns the indices that a view holds then.
    pub fn indices(&self, view: View) -> Vec<u32> {
        let team = Cpu::<f64>::team(2).expect("threads");
        let mut device = Cpu::<f64>::new(self.plan.clone(), team);
        self.run(&mut device);
        device.read_index(view).expect("readable")
    }

    /// Whether the CPU in f64 gives the values of a definition, but for rounding: 1e-13 of each value and
    /// of 1.
    pub fn agrees(&self, view: View, definition: &[f64]) -> bool {
        let close = closest(&self.doubles(view), definition, |value| {
            1e-13 * (1.0 + value.abs())
        });
        if close.is_ok() {
            self.is_defined();
        }
        close.is_ok()
    }

    /// Holds what the CPU makes of a view in f64 against a definition, to within a tolerance for each
    /// element; and sees to it that a definition with one element off by ten times that would fail.
    pub fn defined_within(&self, view: View, definition: &[f64], tolerance: impl Fn(f64) -> f64) {
        let got = self.doubles(view);
        if let Err(error) = closest(&got, definition, &tolerance) {
            panic!("{}: {error}; {:?}", self.kernel.name(), self.kernel);
        }
        let mut mistaken = definition.to_vec();
        let middle = mistaken.len() / 2;
        mistaken[middle] += 10.0 * tolerance(mistaken[middle]).max(f64::MIN_POSITIVE);
        assert!(
            closest(&got, &mistaken, &tolerance).is_err() || !mistaken[middle].is_finite(),
            "{}: a mistake goes by",
            self.kernel.name()
        );
        self.is_defined();
    }

    /// The same to within rounding in f64: 1e-13 of each value and of 1.
    pub fn defined(&self, view: View, definition: &[f64]) {
        self.defined_within(view, definition, |value| 1e-13 * (1.0 + value.abs()));
    }

    /// The same of indices, which must be equal.
    pub fn defined_indices(&self, view: View, definition: &[u32]) {
        let what = self.kernel.name();
        assert_eq!(self.indices(view), definition, "{what}: {:?}", self.kernel);
        self.is_defined();
    }

    /// Notes that the kernel was held against its definition.
    fn is_defined(&self) {
        let mut compared = COMPARED.lock().expect("no test panics with it");
        compared.definition.insert(self.kernel.name());
    }

    fn bits(&self, gpu: &mut Gpu, view: View) -> Vec<u32> {
        match self.plan.buffer(view).element {
            Element::Index => gpu.read_index(view).expect("readable"),
            _ => {
                let values = gpu.read_real(view).expect("readable");
                values.into_iter().map(f32::to_bits).collect()
            }
        }
    }

    fn check_canaries(&self, device: &mut dyn Device, view: View, what: &str) {
        let buffer = self.plan.buffer(view);
        let whole = View {
            offset: 0,
            len: buffer.len,
            ..view
        };
        let outside = |i: &usize| *i < view.offset || *i >= view.offset + view.len;
        let touched = match buffer.element {
            Element::Real => {
                let all = device.read_real(whole).expect("readable");
                (0..all.len()).filter(outside).find(|&i| all[i] != CANARY)
            }
            _ => {
                let all = device.read_index(whole).expect("readable");
                (0..all.len())
                    .filter(outside)
                    .find(|&i| all[i] != CANARY_INDEX)
            }
        };
        assert_eq!(touched, None, "{what}: an element outside was written");
    }
}

/// Holds values against a definition. The error names the first one that is off.
fn closest(got: &[f64], definition: &[f64], tolerance: impl Fn(f64) -> f64) -> Result<(), String> {
    assert_eq!(got.len(), definition.len(), "elements of the definition");
    let pairs = got.iter().zip(definition).enumerate();
    for (i, (&got, &expected)) in pairs {
        let close = got == expected || (got - expected).abs() <= tolerance(expected);
        if !close {
            return Err(format!("[{i}] = {got}, by its definition {expected}"));
        }
    }
    Ok(())
}
