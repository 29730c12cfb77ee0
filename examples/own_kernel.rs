//! How to write a kernel outside the crate: `y = x²`, element by element, on the CPU and on a GPU if
//! there is one.
//!
//! ```sh
//! cargo run --release --example own_kernel
//! ```

use std::error::Error;
use std::sync::Arc;

use diabolo::buffer::{Element, Operand, View};
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::{Gpu, GpuOptions};
use diabolo::device::{Device, HostData, any_gpu};
use diabolo::kernels::host::Memory;
use diabolo::kernels::{Dispatch, Kernel, linear_groups};
use diabolo::plan::PlanBuilder;
use diabolo::scalar::Scalar;

/// `y = x²`, both of one length.
#[derive(Clone, Debug)]
struct Square {
    x: View,
    y: View,
}

impl Kernel for Square {
    const NAME: &'static str = "square";
    /// Binding 0 is the uniform, the operands follow in their order.
    const SHADER: &'static str = "
        @group(0) @binding(0) var<uniform> len: vec4<u32>;
        @group(0) @binding(1) var<storage, read> x: array<f32>;
        @group(0) @binding(2) var<storage, read_write> y: array<f32>;

        @compute @workgroup_size(64)
        fn main(
            @builtin(workgroup_id) group: vec3<u32>,
            @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) local: u32,
        ) {
            let i = (group.y * groups.x + group.x) * 64u + local;
            if i < len.x {
                y[i] = x[i] * x[i];
            }
        }
    ";

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("x", self.x), Operand::write("y", self.y)]
    }

    fn flops(&self) -> u64 {
        self.y.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([x], [y]) = memory.real.access([self.x], [self.y]);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * x;
        }
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.y.len as u32, 0, 0, 0],
            groups: linear_groups(self.y.len),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let values: Vec<f32> = (0..1000).map(|i| 0.25 * i as f32).collect();
    let mut plan = PlanBuilder::new();
    let [x, y] = ["x", "y"].map(|name| plan.persistent(name, Element::Real, values.len()));
    let routine = plan.begin("square");
    plan.launch("square", Square { x, y });
    let plan = Arc::new(plan.finish(u64::MAX)?);

    let cpu = Cpu::<f32>::new(plan.clone(), Cpu::<f32>::team(0)?);
    let mut devices: Vec<(&str, Box<dyn Device>)> = vec![("cpu", Box::new(cpu))];
    if let Some(context) = any_gpu(GpuOptions::default())? {
        devices.push(("gpu", Box::new(Gpu::new(context, plan)?)));
    }
    for (name, mut device) in devices {
        device.write(x, HostData::Real(&values))?;
        device.run(routine, 1)?;
        let squares = device.read_real(y)?;
        assert!(squares.iter().zip(&values).all(|(y, x)| *y == x * x));
        println!(
            "{name}: {} squares, the last {}",
            squares.len(),
            squares[999]
        );
    }
    Ok(())
}
