//! The CPU device: the plan's launches, one after the other, each spread over a thread pool.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::plan::{Element, MemoryMap, Plan, RoutineId, View};
use crate::scalar::Scalar;

use super::{Device, DeviceError, DeviceInfo, HostData, Span, Timing};

/// All buffers of one element type, by memory slot.
pub struct Table<E> {
    slot_of: Arc<[usize]>,
    slots: Vec<Vec<E>>,
}

impl<E: Copy + Default> Table<E> {
    fn new(element: Element, slot_of: Arc<[usize]>, map: &MemoryMap) -> Self {
        let slots = map.slots.iter().map(|slot| {
            let len = if slot.element == element { slot.len } else { 0 };
            vec![E::default(); len]
        });
        Table {
            slots: slots.collect(),
            slot_of,
        }
    }

    /// The elements of one view.
    pub fn read(&self, view: View) -> &[E] {
        &self.slots[self.slot_of[view.buffer.0]][view.offset..][..view.len]
    }

    /// The elements of one view, to be changed.
    pub fn write(&mut self, view: View) -> &mut [E] {
        &mut self.slots[self.slot_of[view.buffer.0]][view.offset..][..view.len]
    }

    /// The operands of a launch, all at once: some to read, some to write.
    ///
    /// Panics where a written view overlaps another; [`PlanBuilder::launch`] has ruled that out
    /// for buffers, and the memory plan for the slots beneath them.
    ///
    /// [`PlanBuilder::launch`]: crate::plan::PlanBuilder::launch
    pub fn access<const R: usize, const W: usize>(
        &mut self,
        reads: [View; R],
        writes: [View; W],
    ) -> ([&[E]; R], [&mut [E]; W]) {
        let slot_of = &self.slot_of;
        let mut read: [&[E]; R] = [&[]; R];
        let mut written: [&mut [E]; W] = std::array::from_fn(|_| &mut [][..]);
        for (slot, elements) in self.slots.iter_mut().enumerate() {
            let here = |view: &View| slot_of[view.buffer.0] == slot;
            if !writes.iter().any(here) {
                let elements: &[E] = elements;
                for (target, view) in read.iter_mut().zip(&reads) {
                    if here(view) {
                        *target = &elements[view.offset..][..view.len];
                    }
                }
                continue;
            }
            // Cut the slot into its views from left to right.
            let mut rest = elements.as_mut_slice();
            let mut cut = 0;
            loop {
                let ahead = |view: &View| here(view) && view.offset >= cut && view.len > 0;
                let next_read = (0..R)
                    .filter(|&i| ahead(&reads[i]))
                    .min_by_key(|&i| reads[i].offset);
                let next_write = (0..W)
                    .filter(|&i| ahead(&writes[i]))
                    .min_by_key(|&i| writes[i].offset);
                let view = match (next_read, next_write) {
                    (None, None) => break,
                    (Some(i), None) => reads[i],
                    (None, Some(j)) => writes[j],
                    (Some(i), Some(j)) if reads[i].offset < writes[j].offset => reads[i],
                    (Some(_), Some(j)) => writes[j],
                };
                let (_, from_view) = rest.split_at_mut(view.offset - cut);
                let (piece, after) = from_view.split_at_mut(view.len);
                rest = after;
                cut = view.offset + view.len;
                if let Some(j) = next_write.filter(|&j| writes[j] == view) {
                    written[j] = piece;
                } else {
                    let piece: &[E] = piece;
                    for (target, other) in read.iter_mut().zip(&reads) {
                        if *other == view {
                            *target = piece;
                        }
                    }
                }
            }
        }
        for (got, view) in read.iter().map(|r| r.len()).zip(&reads) {
            assert_eq!(got, view.len, "a read view overlaps a written one");
        }
        for (got, view) in written.iter().map(|w| w.len()).zip(&writes) {
            assert_eq!(got, view.len, "two written views overlap");
        }
        (read, written)
    }
}

/// Scratch memory, a piece for each thread, as large as any kernel of the plan asks for.
pub struct Scratch<T>(Vec<Mutex<Vec<T>>>);

impl<T> Scratch<T> {
    /// Lends `len` elements of the calling thread's piece, with whatever they hold.
    ///
    /// Panics if the kernel asked for less, or if it lends them twice at a time.
    pub fn with<R>(&self, len: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
        let thread = rayon::current_thread_index().unwrap_or(0);
        // Only this thread ever takes this lock, so it never waits.
        let mut piece = self.0[thread]
            .try_lock()
            .expect("a kernel lends its scratch memory once at a time");
        work(&mut piece[..len])
    }
}

/// The CPU device's memory: a table per element type, so that a kernel can borrow from each.
pub struct Memory<T> {
    /// Reals.
    pub real: Table<T>,
    /// Indices and counters.
    pub index: Table<u32>,
    /// Bytes.
    pub bytes: Table<u8>,
    /// What kernels need while they run.
    pub scratch: Scratch<T>,
}

/// A plan loaded on the CPU, computing in `T`.
pub struct Cpu<T> {
    plan: Arc<Plan>,
    memory: Memory<T>,
    pool: Arc<rayon::ThreadPool>,
    info: DeviceInfo,
}

impl<T: Scalar> Cpu<T> {
    /// Allocates a plan's memory, zeroed, and uses the given threads for it.
    pub fn new(plan: Arc<Plan>, pool: Arc<rayon::ThreadPool>) -> Self {
        let slot_of: Arc<[usize]> = plan.memory.slot_of.clone().into();
        let launches = plan.routines.iter().flat_map(|routine| &routine.launches);
        let most = launches.map(|launch| launch.kernel.scratch()).max();
        let scratch =
            (0..pool.current_num_threads()).map(|_| Mutex::new(vec![T::zero(); most.unwrap_or(0)]));
        let memory = Memory {
            real: Table::new(Element::Real, slot_of.clone(), &plan.memory),
            index: Table::new(Element::Index, slot_of.clone(), &plan.memory),
            bytes: Table::new(Element::Byte, slot_of, &plan.memory),
            scratch: Scratch(scratch.collect()),
        };
        Cpu {
            info: DeviceInfo::cpu(pool.current_num_threads()),
            plan,
            memory,
            pool,
        }
    }

    /// A pool of `threads` threads; 0 means one per core.
    pub fn pool(threads: usize) -> Result<Arc<rayon::ThreadPool>, DeviceError> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
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

impl<T: Scalar> Device for Cpu<T> {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn run(&mut self, routine: RoutineId, times: usize) -> Result<(), DeviceError> {
        let (plan, memory) = (&self.plan, &mut self.memory);
        // Inside the pool from the first launch to the last, so that no launch pays for entering it.
        self.pool.install(|| {
            for _ in 0..times {
                for launch in plan.launches(routine) {
                    launch.kernel.cpu(memory);
                }
            }
        });
        Ok(())
    }

    fn run_launch(&mut self, routine: RoutineId, launch: usize) -> Result<(), DeviceError> {
        let kernel = &self.plan.launches(routine)[launch].kernel;
        self.pool.install(|| kernel.cpu(&mut self.memory));
        Ok(())
    }

    fn time_launches(&mut self, routine: RoutineId) -> Result<Timing, DeviceError> {
        let launches = self.plan.launches(routine);
        let memory = &mut self.memory;
        let mut timing = Timing::default();
        timing.launches.reserve(launches.len());
        self.pool.install(|| {
            let began = Instant::now();
            let mut start = 0.0;
            for launch in launches {
                launch.kernel.cpu(memory);
                let end = began.elapsed().as_secs_f64();
                timing.launches.push(Span { start, end });
                start = end;
            }
        });
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
