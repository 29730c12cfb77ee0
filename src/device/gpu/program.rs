//! A plan loaded onto a GPU.

use std::sync::Arc;

use crate::buffer::{Element, Operand, View};
use crate::device::{Device, DeviceError, DeviceInfo, HostData, Timing};
use crate::kernels::Step;
use crate::plan::{Launch, Plan, RoutineId};

use super::pipelines::Pipeline;
use super::{Counters, GpuContext};

/// Dispatches recorded into one submission, at most: drivers give up on submissions that run for
/// seconds, and the host should not run far ahead of an interrupt.
pub(super) const DISPATCHES_PER_SUBMIT: usize = 2048;

/// WebGPU's limit on work-groups in one dimension.
const MAX_GROUPS: u32 = 65_535;

/// Bytes that are read back at a time, at most.
const STAGING: u64 = 4 << 20;

/// A dispatch, ready to be recorded.
struct Bound {
    pipeline: Arc<Pipeline>,
    bindings: wgpu::BindGroup,
    groups: [u32; 3],
}

/// A launch, ready to be recorded.
pub(super) struct Prepared {
    steps: Vec<Bound>,
}

impl Prepared {
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass) {
        for step in &self.steps {
            let [x, y, z] = step.groups;
            pass.set_pipeline(&step.pipeline.compute);
            pass.set_bind_group(0, &step.bindings, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    }

    pub(super) fn dispatches(&self) -> usize {
        self.steps.len()
    }
}

/// A plan loaded onto a GPU.
pub struct Gpu {
    pub(super) context: Arc<GpuContext>,
    plan: Arc<Plan>,
    /// One per memory slot, and one for what goes from one dispatch of a launch to the next; none where
    /// a slot holds nothing.
    slots: Vec<Option<wgpu::Buffer>>,
    pub(super) routines: Vec<Vec<Prepared>>,
    /// What the host reads through.
    staging: wgpu::Buffer,
    info: DeviceInfo,
    pub(super) counters: Counters,
}

/// Bytes of a slot or a view on the device: bytes come four to a word.
fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(4)
}

impl Gpu {
    /// Allocates a plan's memory, zeroed, compiles its kernels and binds their operands.
    pub fn new(context: Arc<GpuContext>, plan: Arc<Plan>) -> Result<Gpu, DeviceError> {
        check_sizes(&context, &plan)?;
        let mut counters = Counters::default();
        let out_of_memory = context
            .device
            .push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let steps = steps(&plan);
        let sizes = plan.memory.slots.iter();
        let sizes = sizes.map(|slot| padded(slot.len as u64 * slot.element.bytes()));
        let sizes: Vec<u64> = sizes.chain([scratch_bytes(&plan, &steps)]).collect();
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let slots = sizes.iter().map(|&bytes| {
            (bytes > 0).then(|| create_buffer(&context, &mut counters, "slot", bytes, usage))
        });
        let slots = slots.collect();
        let largest = sizes.iter().copied().max().unwrap_or(0);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = largest.clamp(4, STAGING);
        let staging = create_buffer(&context, &mut counters, "staging", staging, usage);
        if let Some(error) = pollster::block_on(out_of_memory.pop()) {
            return Err(context.error(error));
        }
        let mut gpu = Gpu {
            info: DeviceInfo::gpu(context.name()),
            slots,
            routines: Vec::new(),
            staging,
            counters,
            context,
            plan,
        };
        gpu.routines = gpu.prepare(&steps)?;
        gpu.context.check()?;
        Ok(gpu)
    }

    pub(super) fn create_buffer(
        &mut self,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> wgpu::Buffer {
        create_buffer(&self.context, &mut self.counters, label, size, usage)
    }

    /// Waits for all that was submitted.
    pub(super) fn wait_for_all(&mut self) -> Result<(), DeviceError> {
        self.counters.waits += 1;
        self.context.wait()?;
        self.context.check()
    }

    /// Byte range of a view in its slot's buffer.
    fn range(&self, view: View) -> (u64, u64) {
        let bytes = match view.buffer == self.plan.scratch() {
            true => Element::Real.bytes(),
            false => self.plan.buffer(view).element.bytes(),
        };
        (view.offset as u64 * bytes, padded(view.len as u64 * bytes))
    }

    /// The buffer under a view; views of no elements have none.
    fn slot(&self, view: View) -> Option<&wgpu::Buffer> {
        let slots = &self.plan.memory.slot_of;
        let slot = slots.get(view.buffer.0).map(|&slot| &self.slots[slot]);
        slot.or(self.slots.last())?.as_ref()
    }

    /// Pipelines, uniforms and bind groups of every launch.
    fn prepare(&mut self, steps: &[Vec<Vec<Step>>]) -> Result<Vec<Vec<Prepared>>, DeviceError> {
        let plan = self.plan.clone();
        // All dispatches' dimensions lie in one uniform buffer, each where it can be bound.
        let align = self.context.limits.min_uniform_buffer_offset_alignment as usize;
        let mut words: Vec<u32> = Vec::new();
        let mut offsets = Vec::new();
        for step in steps.iter().flatten().flatten() {
            offsets.push(4 * words.len() as u64);
            words.extend(&step.dispatch.dims);
            words.resize(words.len().next_multiple_of(align / 4), 0);
        }
        let size = (4 * words.len()).max(align) as u64;
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let dims = self.create_buffer("dims", size, usage);
        let bytes = bytemuck::cast_slice(&words);
        self.context.queue.write_buffer(&dims, 0, bytes);

        let mut offsets = offsets.into_iter();
        let mut prepare = |launch: &Launch, steps: &[Step]| {
            let steps = steps.iter().zip(offsets.by_ref());
            let steps = steps.map(|(step, offset)| self.bind(launch, step, &dims, offset));
            let steps = steps.collect::<Result<_, _>>()?;
            Ok(Prepared { steps })
        };
        let routines = plan.routines.iter().zip(steps);
        routines
            .map(|(routine, steps)| {
                let launches = routine.launches.iter().zip(steps);
                launches
                    .map(|(launch, steps)| prepare(launch, steps))
                    .collect()
            })
            .collect()
    }

    fn bind(
        &mut self,
        launch: &Launch,
        step: &Step,
        dims: &wgpu::Buffer,
        offset: u64,
    ) -> Result<Bound, DeviceError> {
        let context = self.context.clone();
        let dispatch = &step.dispatch;
        if dispatch.groups.iter().any(|&groups| groups > MAX_GROUPS) {
            return Err(context.error(format!(
                "{} ({}) would need {:?} work-groups, and {MAX_GROUPS} are allowed in a dimension",
                launch.label, step.name, dispatch.groups
            )));
        }
        let compiled = &mut self.counters.pipelines;
        let pipeline = context.pipeline(step, compiled);
        let mut entries = Vec::new();
        if !dispatch.dims.is_empty() {
            let bytes = (4 * dispatch.dims.len() as u64).next_multiple_of(16);
            entries.push(entry(0, dims, offset, bytes));
        }
        for (index, operand) in step.operands.iter().enumerate() {
            let buffer = self.bound(launch, operand)?;
            let (offset, bytes) = self.range(operand.view);
            entries.push(entry(index + 1, buffer, offset, bytes));
        }
        let bindings = context
            .device
            .create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&launch.label.to_string()),
                layout: &pipeline.layout,
                entries: &entries,
            });
        self.counters.bind_groups += 1;
        Ok(Bound {
            pipeline,
            bindings,
            groups: dispatch.groups,
        })
    }

    fn bound(&self, launch: &Launch, operand: &Operand) -> Result<&wgpu::Buffer, DeviceError> {
        self.slot(operand.view).ok_or_else(|| {
            let (label, name) = (&launch.label, operand.name);
            self.context
                .error(format!("{label}: operand `{name}` is empty"))
        })
    }

    /// Records launches, as often as told, in one pass, and submits them.
    fn submit<'a>(
        context: &GpuContext,
        counters: &mut Counters,
        launches: impl Iterator<Item = &'a Prepared>,
    ) {
        let device = &context.device;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for launch in launches {
            launch.record(&mut pass);
            counters.launches += 1;
            counters.dispatches += launch.dispatches() as u64;
        }
        drop(pass);
        context.queue.submit([encoder.finish()]);
        counters.passes += 1;
        counters.submits += 1;
    }

    /// Copies a view's bytes to the host once everything before is done.
    fn read_bytes(&mut self, view: View) -> Result<Vec<u8>, DeviceError> {
        let (offset, bytes) = self.range(view);
        match self.slot(view).cloned() {
            Some(slot) if bytes > 0 => self.fetch(&slot, offset, bytes),
            _ => Ok(Vec::new()),
        }
    }

    /// Copies part of a buffer to the host once everything before is done, as much at a time as goes
    /// through the one buffer there is for that.
    pub(super) fn fetch(
        &mut self,
        source: &wgpu::Buffer,
        offset: u64,
        bytes: u64,
    ) -> Result<Vec<u8>, DeviceError> {
        let mut values = Vec::with_capacity(bytes as usize);
        let at_a_time = self.staging.size();
        for start in (0..bytes).step_by(at_a_time as usize) {
            let part = at_a_time.min(bytes - start);
            self.fetch_part(source, offset + start, part, &mut values)?;
        }
        Ok(values)
    }

    fn fetch_part(
        &mut self,
        source: &wgpu::Buffer,
        offset: u64,
        bytes: u64,
        values: &mut Vec<u8>,
    ) -> Result<(), DeviceError> {
        let context = self.context.clone();
        let mut encoder = context
            .device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(source, offset, &self.staging, 0, bytes);
        context.queue.submit([encoder.finish()]);
        self.counters.submits += 1;
        let (sender, receiver) = std::sync::mpsc::channel();
        self.staging
            .map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
                // The receiver is gone only if waiting failed, which is reported below.
                let _ = sender.send(result);
            });
        self.wait_for_all()?;
        match receiver.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(context.error(error)),
            Err(error) => return Err(context.error(error)),
        }
        let mapped = self
            .staging
            .get_mapped_range(0..bytes)
            .map_err(|error| context.error(error))?;
        values.extend_from_slice(&mapped);
        drop(mapped);
        self.staging.unmap();
        self.counters.reads += 1;
        self.counters.read_bytes += bytes;
        Ok(())
    }
}

/// The dispatches of every launch of every routine.
fn steps(plan: &Plan) -> Vec<Vec<Vec<Step>>> {
    let routines = plan.routines.iter();
    let steps = |launch: &Launch| launch.kernel.steps(plan.scratch());
    routines
        .map(|routine| routine.launches.iter().map(steps).collect())
        .collect()
}

/// Bytes that the dispatches of any one launch leave for each other. Launches run one after the other, so
/// one buffer serves them all.
fn scratch_bytes(plan: &Plan, steps: &[Vec<Vec<Step>>]) -> u64 {
    let steps = steps.iter().flatten().flatten();
    let operands = steps.flat_map(|step| &step.operands);
    let views = operands.map(|operand| operand.view);
    let scratch = views.filter(|view| view.buffer == plan.scratch());
    scratch.map(|view| view.len as u64).max().unwrap_or(0) * Element::Real.bytes()
}

/// Errors if a buffer is larger than the adapter holds or binds.
fn check_sizes(context: &GpuContext, plan: &Plan) -> Result<(), DeviceError> {
    let limits = &context.limits;
    let limits = [
        (limits.max_buffer_size, "buffer"),
        (limits.max_storage_buffer_binding_size, "storage binding"),
    ];
    for buffer in &plan.buffers {
        let bytes = padded(buffer.len as u64 * buffer.element.bytes());
        for (limit, what) in limits {
            if bytes > limit {
                return Err(DeviceError::TooLarge {
                    buffer: buffer.name.clone(),
                    bytes,
                    adapter: context.name().to_owned(),
                    limit,
                    what,
                });
            }
        }
    }
    Ok(())
}

fn create_buffer(
    context: &GpuContext,
    counters: &mut Counters,
    label: &str,
    size: u64,
    usage: wgpu::BufferUsages,
) -> wgpu::Buffer {
    counters.buffers += 1;
    counters.buffer_bytes += size;
    context.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage,
        mapped_at_creation: false,
    })
}

fn entry(
    binding: usize,
    buffer: &wgpu::Buffer,
    offset: u64,
    bytes: u64,
) -> wgpu::BindGroupEntry<'_> {
    wgpu::BindGroupEntry {
        binding: binding as u32,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset,
            size: wgpu::BufferSize::new(bytes),
        }),
    }
}

impl Device for Gpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn run(&mut self, routine: RoutineId, times: usize) -> Result<(), DeviceError> {
        let launches = &self.routines[routine.0];
        if launches.is_empty() {
            return Ok(());
        }
        let dispatches: usize = launches.iter().map(Prepared::dispatches).sum();
        let at_a_time = (DISPATCHES_PER_SUBMIT / dispatches).max(1);
        for first in (0..times).step_by(at_a_time) {
            let repeated = (first..times.min(first + at_a_time)).flat_map(|_| launches);
            Gpu::submit(&self.context, &mut self.counters, repeated);
        }
        self.context.check()
    }

    fn run_launch(&mut self, routine: RoutineId, launch: usize) -> Result<(), DeviceError> {
        let launch = std::iter::once(&self.routines[routine.0][launch]);
        Gpu::submit(&self.context, &mut self.counters, launch);
        self.context.check()
    }

    fn time_launches(&mut self, routine: RoutineId) -> Result<Timing, DeviceError> {
        self.timed(routine)
    }

    fn wait(&mut self) -> Result<(), DeviceError> {
        self.wait_for_all()
    }

    fn counters(&self) -> Option<Counters> {
        Some(self.counters)
    }

    fn write(&mut self, view: View, data: HostData<'_>) -> Result<(), DeviceError> {
        data.check(&self.plan, view)?;
        let Some(buffer) = self.slot(view).cloned() else {
            return Ok(());
        };
        let (offset, padded) = self.range(view);
        let (queue, counters) = (&self.context.queue, &mut self.counters);
        let mut put = |bytes: &[u8]| {
            queue.write_buffer(&buffer, offset, bytes);
            counters.uploads += 1;
            counters.upload_bytes += bytes.len() as u64;
        };
        match data {
            HostData::Real(values) => put(bytemuck::cast_slice(values)),
            HostData::Double(values) => {
                let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
                put(bytemuck::cast_slice(&values));
            }
            HostData::Index(values) => put(bytemuck::cast_slice(values)),
            HostData::Byte(values) if values.len() as u64 == padded => put(values),
            HostData::Byte(values) => {
                // Filling up the last word must not reach the bytes behind the view.
                let whole = self.plan.buffer(view);
                if view.offset + view.len < whole.len {
                    return Err(DeviceError::Transfer {
                        buffer: whole.name.clone(),
                        expected: "four bytes to a word on a GPU".to_owned(),
                        got: format!("{} bytes at {} of {}", view.len, view.offset, whole.len),
                    });
                }
                let mut values = values.to_vec();
                values.resize(padded as usize, 0);
                put(&values);
            }
        }
        self.context.check()
    }

    fn read_real(&mut self, view: View) -> Result<Vec<f32>, DeviceError> {
        Ok(bytemuck::pod_collect_to_vec(&self.read_bytes(view)?))
    }

    fn read_index(&mut self, view: View) -> Result<Vec<u32>, DeviceError> {
        Ok(bytemuck::pod_collect_to_vec(&self.read_bytes(view)?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Gpu;
    use crate::buffer::Element;
    use crate::device::gpu::GpuOptions;
    use crate::device::{Device, HostData, any_gpu};
    use crate::kernels::clock::Advance;
    use crate::plan::PlanBuilder;

    #[test]
    fn a_lost_device_is_an_error_at_every_call_and_never_a_panic() {
        let Some(context) = any_gpu(GpuOptions::default()).expect("opens") else {
            return println!("skipped: no GPU adapter, not even a software one");
        };
        let mut plan = PlanBuilder::new();
        let clock = plan.persistent("clock", Element::Index, 2);
        let routine = plan.begin("tick");
        plan.launch("tick", Advance { clock });
        let plan = Arc::new(plan.finish(u64::MAX).expect("fits"));
        let mut gpu = Gpu::new(context.clone(), plan.clone()).expect("loads");
        gpu.run(routine, 3).expect("runs");

        // Unlike a driver's loss, our own is told only when the device is polled.
        context.device.destroy();
        context.wait().expect("nothing is under way");
        for _ in 0..2 {
            let results = [
                gpu.run(routine, 3),
                gpu.run_launch(routine, 0),
                gpu.write(clock, HostData::Index(&[0, 0])),
                gpu.read_index(clock).map(|_| ()),
                Gpu::new(context.clone(), plan.clone()).map(|_| ()),
            ];
            for (call, result) in results.into_iter().enumerate() {
                let error = result.expect_err("refused").to_string();
                assert!(error.contains("the device was lost"), "{call}: {error}");
            }
        }
    }
}
