//! The CPU device: the plan's launches, one after the other, each spread over a team of threads.

use std::sync::Arc;
use std::time::Instant;

use crate::buffer::View;
use crate::kernels::AnyKernel;
use crate::kernels::host::{Memory, Products, ScratchSize, Team};
use crate::plan::{Plan, RoutineId};
use crate::scalar::Scalar;

use super::{Device, DeviceError, DeviceInfo, HostData, Span, Timing};

/// A scalar type that the CPU device computes in.
pub trait Precision: Scalar {
    /// Executes a kernel in this precision.
    fn execute(kernel: &dyn AnyKernel, memory: &mut Memory<Self>);
}

impl Precision for f32 {
    fn execute(kernel: &dyn AnyKernel, memory: &mut Memory<f32>) {
        kernel.cpu_f32(memory);
    }
}

impl Precision for f64 {
    fn execute(kernel: &dyn AnyKernel, memory: &mut Memory<f64>) {
        kernel.cpu_f64(memory);
    }
}

/// A plan loaded on the CPU, computing in `T`.
pub struct Cpu<T> {
    plan: Arc<Plan>,
    memory: Memory<T>,
    info: DeviceInfo,
}

impl<T: Precision> Cpu<T> {
    /// Allocates a plan's memory, zeroed, and uses the given threads for it, and the fastest code that this
    /// processor has for products.
    pub fn new(plan: Arc<Plan>, team: Arc<Team>) -> Self {
        Self::with_products(plan, team, Products::fastest())
    }

    /// The same with products by this code.
    pub fn with_products(plan: Arc<Plan>, team: Arc<Team>, products: Products) -> Self {
        let slot_of: Arc<[usize]> = plan.memory.slot_of.clone().into();
        let launches = plan.routines.iter().flat_map(|routine| &routine.launches);
        let sizes = launches.map(|launch| launch.kernel.scratch());
        let most = sizes.fold(ScratchSize::default(), |most, size| ScratchSize {
            reals: most.reals.max(size.reals),
            places: most.places.max(size.places),
        });
        let memory = Memory::new(&plan.memory.slots, slot_of, most, team, products);
        Cpu {
            info: DeviceInfo::cpu(memory.team.threads()),
            plan,
            memory,
        }
    }

    /// A team of `threads` threads; 0 means one per core.
    pub fn team(threads: usize) -> Result<Arc<Team>, DeviceError> {
        Team::new(threads)
            .map(Arc::new)
            .map_err(|source| DeviceError::Threads { threads, source })
    }

    /// Reals of a view, in this device's own precision.
    pub fn reals(&self, view: View) -> &[T] {
        self.memory.real.read(view)
    }

    /// Reals of a view, to be changed in this device's own precision: for gradient checks.
    pub fn reals_mut(&mut self, view: View) -> &mut [T] {
        self.memory.real.write(view)
    }
}

impl<T: Precision> Device for Cpu<T> {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn run(&mut self, routine: RoutineId, times: usize) -> Result<(), DeviceError> {
        let (plan, memory) = (&self.plan, &mut self.memory);
        for _ in 0..times {
            for launch in plan.launches(routine) {
                T::execute(launch.kernel.as_ref(), memory);
            }
        }
        Ok(())
    }

    fn run_launch(&mut self, routine: RoutineId, launch: usize) -> Result<(), DeviceError> {
        let launch = &self.plan.launches(routine)[launch];
        T::execute(launch.kernel.as_ref(), &mut self.memory);
        Ok(())
    }

    fn time_launches(&mut self, routine: RoutineId) -> Result<Timing, DeviceError> {
        let launches = self.plan.launches(routine);
        let memory = &mut self.memory;
        let mut timing = Timing::default();
        timing.launches.reserve(launches.len());
        let began = Instant::now();
        let mut start = 0.0;
        for launch in launches {
            T::execute(launch.kernel.as_ref(), memory);
            let end = began.elapsed().as_secs_f64();
            timing.launches.push(Span { start, end });
            start = end;
        }
        Ok(timing)
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        Ok(()) // running returns when it is done
    }

    fn write(&mut self, view: View, data: HostData<'_>) -> Result<(), DeviceError> {
        data.check(&self.plan, view)?;
        match data {
            HostData::Real(values) => {
                let target = self.memory.real.write(view);
                for (target, &value) in target.iter_mut().zip(values) {
                    *target = T::of(value.into());
                }
            }
            HostData::Double(values) => {
                let target = self.memory.real.write(view);
                for (target, &value) in target.iter_mut().zip(values) {
                    *target = T::of(value);
                }
            }
            HostData::Index(values) => self.memory.index.write(view).copy_from_slice(values),
            HostData::Byte(values) => self.memory.bytes.write(view).copy_from_slice(values),
        }
        Ok(())
    }

    fn read_real(&mut self, view: View) -> Result<Vec<f32>, DeviceError> {
        let values = self.memory.real.read(view);
        Ok(values
            .iter()
            .map(|value| value.to_double() as f32)
            .collect())
    }

    fn read_double(&mut self, view: View) -> Result<Vec<f64>, DeviceError> {
        let values = self.memory.real.read(view);
        Ok(values.iter().map(|value| value.to_double()).collect())
    }

    fn read_index(&mut self, view: View) -> Result<Vec<u32>, DeviceError> {
        Ok(self.memory.index.read(view).to_vec())
    }
}
