//! Comparing with PyTorch: references, devices, and what was found on each of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use diabolo::buffer::{Element, View};
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::{Gpu, GpuOptions};
use diabolo::device::{Device, HostData};
use diabolo::emit::{Emission, Gradient, Layout, Mode, Parameters, Role};
use diabolo::layers::{Layer, Stack};
use diabolo::plan::{Plan, PlanBuilder, RoutineId};
use safetensors::SafeTensors;

use crate::common::adapter::gpu;

/// How far from PyTorch f64 may be. Both sides round some hundred times at 1e-16.
pub const DOUBLE: f64 = 1e-12;
/// How far f32 may be after a layer: sums of at most a hundred terms at 6e-8 each.
pub const SINGLE: f64 = 1e-5;
/// How far f32 may be after twenty training steps.
pub const TRAINED: f64 = 1e-4;

/// A file that `generate.py` wrote.
pub fn path(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/pytorch")).join(file)
}

/// A file of references.
pub struct Reference(Vec<u8>);

impl Reference {
    pub fn open(file: &str) -> Reference {
        Reference(std::fs::read(path(file)).expect("checked in"))
    }

    /// A tensor's values and shape.
    pub fn tensor(&self, name: &str) -> (Vec<f64>, Vec<usize>) {
        let file = SafeTensors::deserialize(&self.0).expect("well formed");
        let view = file
            .tensor(name)
            .unwrap_or_else(|_| panic!("no tensor {name}: generate.py has to write it"));
        assert_eq!(view.dtype(), safetensors::Dtype::F64);
        (
            bytemuck::pod_collect_to_vec(view.data()),
            view.shape().to_vec(),
        )
    }

    pub fn values(&self, name: &str) -> Vec<f64> {
        self.tensor(name).0
    }

    /// A tensor in this program's layout.
    pub fn stored(&self, name: &str, layout: &Layout) -> Vec<f64> {
        layout.from_stored(&self.values(name))
    }
}

/// Comparisons that belong together, and what they came to on each device; at the end they are
/// printed, as rows of a table.
pub struct Family {
    name: &'static str,
    /// How far f32 may be from PyTorch, as a part of a tensor's largest value.
    single: f64,
    /// Tensors compared and the worst error.
    found: BTreeMap<&'static str, (usize, f64)>,
}

impl Family {
    pub fn new(name: &'static str, single: f64) -> Family {
        let found = BTreeMap::new();
        Family {
            name,
            single,
            found,
        }
    }

    /// Loads a plan on each device there is and lets `check` work on it.
    pub fn on_every_device(&mut self, plan: Plan, check: impl Fn(&mut On)) {
        let plan = Arc::new(plan);
        let pool = Cpu::<f64>::team(2).expect("threads");
        let mut double = Cpu::<f64>::new(plan.clone(), pool.clone());
        let mut single = Cpu::<f32>::new(plan.clone(), pool);
        let context = gpu(GpuOptions::default());
        let mut gpu = context.map(|context| Gpu::new(context, plan).expect("loads"));
        let devices: [(_, Option<&mut dyn Device>); 3] = [
            ("cpu f64", Some(&mut double)),
            ("cpu f32", Some(&mut single)),
            ("gpu", gpu.as_mut().map(|gpu| gpu as &mut dyn Device)),
        ];
        for (name, device) in devices {
            if let Some(device) = device {
                let family = &mut *self;
                let mut on = On {
                    name,
                    device,
                    family,
                };
                check(&mut on);
            }
        }
    }

    /// Panics if a tensor is off by more than a part of its largest value.
    pub fn compare(&mut self, device: &'static str, what: &str, got: &[f64], expected: &[f64]) {
        let tolerance = match device {
            "cpu f64" => DOUBLE,
            _ => self.single,
        };
        assert_eq!(got.len(), expected.len(), "{what}");
        let largest = expected
            .iter()
            .fold(f64::MIN_POSITIVE, |max, x| max.max(x.abs()));
        let errors = got.iter().zip(expected);
        let errors = errors.map(|(a, b)| (a - b).abs() / largest);
        // NaN is never the greater one.
        let worst = errors.fold(
            0.0,
            |worst, error| if error <= worst { worst } else { error },
        );
        assert!(
            worst <= tolerance,
            "{what} on {device}: off by {worst:.1e} of the largest value, allowed {tolerance:.0e}"
        );
        let (tensors, so_far) = self.found.entry(device).or_default();
        *tensors += 1;
        *so_far = so_far.max(worst);
    }

    /// The worst error so far.
    pub fn worst(&self, device: &str) -> f64 {
        self.found[device].1
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let rows = self.found.iter().map(|(device, (tensors, worst))| {
            let name = self.name;
            format!("{name:<32} {device:<8} {tensors:>5} compared, worst error {worst:.1e}\n")
        });
        print!("{}", rows.collect::<String>());
    }
}

/// A device at work on a plan.
pub struct On<'a> {
    name: &'static str,
    device: &'a mut dyn Device,
    family: &'a mut Family,
}

impl On<'_> {
    pub fn write(&mut self, view: View, values: &[f64]) {
        let written = self.device.write(view, HostData::Double(values));
        written.expect("fits");
    }

    pub fn write_indices(&mut self, view: View, values: &[u32]) {
        let written = self.device.write(view, HostData::Index(values));
        written.expect("fits");
    }

    pub fn run(&mut self, routine: RoutineId) {
        self.device.run(routine, 1).expect("runs");
    }

    /// Compares a tensor with PyTorch's.
    pub fn check(&mut self, what: &str, view: View, expected: &[f64]) {
        let got = self.device.read_double(view).expect("readable");
        self.family.compare(self.name, what, &got, expected);
    }
}

/// Declares layers named `layer`.
pub type Make<'a> = dyn Fn(&mut PlanBuilder, &mut Parameters) -> Stack + 'a;

/// A stack of one layer.
pub fn alone(layer: impl Layer + 'static) -> Stack {
    let mut stack = Stack::default();
    stack.push(layer);
    stack
}

/// What layers are given, all in PyTorch's order, and where its results are.
pub struct Case<'a> {
    /// Results are `{prefix}.y`, `.dx`, `.d_weight` and so on, running statistics `.new_mean`.
    pub reference: &'a Reference,
    pub prefix: String,
    pub shape: [usize; 2],
    pub x: Vec<f64>,
    pub dy: Vec<f64>,
    /// Values of `weight`, `bias` and so on; the length is for those that follow a formula.
    pub initial: &'a dyn Fn(&str, usize) -> Vec<f64>,
}

/// Layers forward and backward, every gradient and every running statistic.
pub fn check_layers(family: &mut Family, case: &Case, make: &Make) {
    let (prefix, [rows, cols]) = (&case.prefix, case.shape);
    let mut emission = Emission::of_gradients(PlanBuilder::new(), 0);
    let plan = &mut emission.plan;
    let mut parameters = Parameters::new(plan);
    let layers = make(plan, &mut parameters);
    let x = plan
        .persistent("x", Element::Real, rows * cols)
        .matrix(rows, cols);
    let dy = plan.persistent("dy", Element::Real, case.dy.len());
    let mut e = emission.begin("both", Mode::Training);
    let (y, saved) = layers.forward(&mut e, x);
    let dy_of_y = Gradient::new(dy.matrix(y.rows, y.cols));
    let dx = layers.backward(&mut e, saved, dy_of_y).matrix();
    e.keep(y.view);
    e.keep(dx.view);
    e.update(&parameters);
    let routine = e.end().routine;
    let gradients = emission
        .witnesses()
        .first()
        .map(|witness| witness.gradients);
    let plan = emission.plan.finish(u64::MAX).expect("fits");
    let what = |tensor: &str| tensor.trim_start_matches("layer.").to_owned();
    family.on_every_device(plan, |on| {
        for tensor in &parameters.tensors {
            let values = (case.initial)(&what(&tensor.name), tensor.value.len);
            on.write(tensor.value, &tensor.layout.from_stored(&values));
        }
        on.write(x.view, &case.x);
        on.write(dy, &case.dy);
        on.run(routine);
        let mut check = |what: &str, view: View, layout: &Layout| {
            let name = format!("{prefix}.{what}");
            on.check(&name, view, &case.reference.stored(&name, layout));
        };
        check("y", y.view, &Layout::vector(y.view.len));
        check("dx", dx.view, &Layout::vector(dx.view.len));
        for tensor in &parameters.tensors {
            let what = what(&tensor.name);
            match tensor.role {
                Role::Parameter => {
                    let all = gradients.expect("of every parameter");
                    let gradient = all.part(tensor.value.offset, tensor.value.len);
                    check(&format!("d_{what}"), gradient, &tensor.layout);
                }
                Role::Running => {
                    check(
                        &what.replace("running", "new"),
                        tensor.value,
                        &tensor.layout,
                    );
                }
            }
        }
    });
}
