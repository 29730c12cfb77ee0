//! A plan loaded onto a GPU.

use std::sync::Arc;

use crate::buffer::View;
use crate::device::{Device, DeviceError, DeviceInfo, HostData, Timing};
use crate::plan::{Plan, RoutineId};

use super::lower::{Binding, Dispatch, Lowered, padded, place};
use super::pipelines::Pipeline;
use super::{Counters, GpuContext};

/// Dispatches recorded into one submission, at most: drivers give up on submissions that run for
/// seconds, and the host should not run far ahead of an interrupt.
pub(super) const DISPATCHES_PER_SUBMIT: usize = 2048;

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
    dispatches: Vec<Bound>,
}

impl Prepared {
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass) {
        for dispatch in &self.dispatches {
            let [x, y, z] = dispatch.groups;
            pass.set_pipeline(&dispatch.pipeline.compute);
            pass.set_bind_group(0, &dispatch.bindings, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    }

    pub(super) fn dispatches(&self) -> usize {
        self.dispatches.len()
    }
}

/// A plan loaded onto a GPU.
pub struct Gpu {
    pub(super) context: Arc<GpuContext>,
    plan: Arc<Plan>,
    /// One per slot of the lowered plan; none where a slot holds nothing.
    slots: Vec<Option<wgpu::Buffer>>,
    pub(super) routines: Vec<Vec<Prepared>>,
    /// What the host reads through.
    staging: wgpu::Buffer,
    info: DeviceInfo,
    pub(super) counters: Counters,
}

impl Gpu {
    /// Lowers a plan, allocates its memory, zeroed, compiles its shaders and binds their operands.
    pub fn new(context: Arc<GpuContext>, plan: Arc<Plan>) -> Result<Gpu, DeviceError> {
        check_sizes(&context, &plan)?;
        let lowered = Lowered::new(&plan, context.options.rewrite);
        let mut counters = Counters::default();
        let out_of_memory = context
            .device
            .push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let slots = lowered.slots.iter().map(|&bytes| {
            (bytes > 0).then(|| create_buffer(&context, &mut counters, "slot", bytes, usage))
        });
        let slots = slots.collect();
        let largest = lowered.slots.iter().copied().max().unwrap_or(0);
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
        gpu.routines = gpu.prepare(&lowered)?;
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

    /// Where a view lies, and the buffer there; views of no elements have none.
    fn slot(&self, view: View) -> (Binding, Option<wgpu::Buffer>) {
        let place = place(&self.plan, view);
        let slot = self.slots[place.slot].clone();
        (place, slot.filter(|_| place.bytes > 0))
    }

    /// Pipelines, uniforms and bind groups of every launch.
    fn prepare(&mut self, lowered: &Lowered) -> Result<Vec<Vec<Prepared>>, DeviceError> {
        let words: &[u32] = match &lowered.uniforms[..] {
            [] => &[0; 4],
            words => words,
        };
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniforms = self.create_buffer("uniforms", 4 * words.len() as u64, usage);
        let bytes = bytemuck::cast_slice(words);
        self.context.queue.write_buffer(&uniforms, 0, bytes);

        let context = self.context.clone();
        let shaders = lowered.shaders.iter();
        let pipelines: Vec<_> = shaders
            .map(|shader| context.pipeline(shader, &mut self.counters.pipelines))
            .collect();
        let mut prepared = Vec::new();
        for routine in &lowered.routines {
            let mut launches = Vec::new();
            for launch in &routine.launches {
                let dispatches = launch.dispatches.iter().map(|dispatch| {
                    let pipeline = pipelines[dispatch.shader].clone();
                    self.bind(&launch.label, dispatch, pipeline, &uniforms)
                });
                let dispatches = dispatches.collect::<Result<_, _>>()?;
                launches.push(Prepared { dispatches });
            }
            prepared.push(launches);
        }
        Ok(prepared)
    }

    fn bind(
        &mut self,
        label: &str,
        dispatch: &Dispatch,
        pipeline: Arc<Pipeline>,
        uniforms: &wgpu::Buffer,
    ) -> Result<Bound, DeviceError> {
        let most = self.context.limits.max_compute_workgroups_per_dimension;
        let groups = dispatch.groups;
        if groups.iter().any(|&groups| groups > most) {
            return Err(self.context.error(format!(
                "{label} would need {groups:?} work-groups, and {most} are allowed in a dimension"
            )));
        }
        let mut entries = Vec::new();
        if let Some([offset, bytes]) = dispatch.uniform {
            entries.push(entry(0, uniforms, offset, bytes));
        }
        for (index, binding) in dispatch.bindings.iter().enumerate() {
            let buffer = self.slots[binding.slot].as_ref().ok_or_else(|| {
                let index = index + 1;
                self.context
                    .error(format!("{label}: what binding {index} needs is empty"))
            })?;
            entries.push(entry(index + 1, buffer, binding.offset, binding.bytes));
        }
        let bindings = self
            .context
            .device
            .create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(label),
                layout: &pipeline.layout,
                entries: &entries,
            });
        self.counters.bind_groups += 1;
        Ok(Bound {
            pipeline,
            bindings,
            groups,
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
        match self.slot(view) {
            (place, Some(slot)) => self.fetch(&slot, place.offset, place.bytes),
            (_, None) => Ok(Vec::new()),
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
        let (place, Some(buffer)) = self.slot(view) else {
            return Ok(());
        };
        let (queue, counters) = (&self.context.queue, &mut self.counters);
        let mut put = |bytes: &[u8]| {
            queue.write_buffer(&buffer, place.offset, bytes);
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
            HostData::Byte(values) if values.len() as u64 == place.bytes => put(values),
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
                values.resize(place.bytes as usize, 0);
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
