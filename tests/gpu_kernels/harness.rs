//! One launch on three devices, with canaries around whatever it writes.

use std::sync::Arc;

use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::{Gpu, GpuContext};
use diabolo::device::{Device, HostData};
use diabolo::kernels::AnyKernel;
use diabolo::plan::{Access, Element, Plan, PlanBuilder, RoutineId, View};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub const CANARY: f32 = -12345.678;
pub const CANARY_INDEX: u32 = 0xCAFE_F00D;
/// Elements before and, at least, after a view.
pub const GUARD: usize = 64;

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

    pub fn finish(mut self, kernel: impl Into<AnyKernel>) -> Ready {
        let kernel = kernel.into();
        let routine = self.plan.begin("test");
        self.plan.launch("test", kernel.clone());
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
    kernel: AnyKernel,
}

impl Ready {
    pub fn run(&self, device: &mut dyn Device) {
        self.case.load(device);
        device.run(self.routine, 1).expect("runs");
    }

    /// Runs on the three devices and compares every written operand. `tolerance(operand, index,
    /// expected)` is absolute.
    pub fn compare(&self, context: &Arc<GpuContext>, tolerance: impl Fn(&str, usize, f64) -> f64) {
        let mut reference =
            Cpu::<f64>::new(self.plan.clone(), Cpu::<f64>::pool(2).expect("threads"));
        self.run(&mut reference);
        let cpu = Cpu::<f32>::new(self.plan.clone(), Cpu::<f32>::pool(2).expect("threads"));
        let gpu = Gpu::new(context.clone(), self.plan.clone()).expect("loads");
        let devices: [(&str, Box<dyn Device>); 2] =
            [("cpu", Box::new(cpu)), ("gpu", Box::new(gpu))];
        for (name, mut device) in devices {
            self.run(device.as_mut());
            for operand in self.kernel.operands() {
                if operand.access == Access::Read {
                    continue;
                }
                let what = format!("{} on {name}: {}", self.kernel.name(), operand.name);
                self.check_canaries(device.as_mut(), operand.view, &what);
                if self.plan.buffer(operand.view).element == Element::Index {
                    let expected = reference.read_index(operand.view).expect("readable");
                    let got = device.read_index(operand.view).expect("readable");
                    assert_eq!(got, expected, "{what}");
                    continue;
                }
                let got = device.read_real(operand.view).expect("readable");
                for (i, (&expected, &got)) in
                    reference.reals(operand.view).iter().zip(&got).enumerate()
                {
                    let allowed = tolerance(operand.name, i, expected);
                    let error = (f64::from(got) - expected).abs();
                    assert!(
                        error <= allowed,
                        "{what}[{i}] = {got}, expected {expected}: off by {error:e}, allowed {allowed:e}; {:?}",
                        self.kernel
                    );
                }
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
