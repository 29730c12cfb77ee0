//! From a shader's text to a pipeline, compiled once per text.

use std::sync::Arc;

use super::GpuContext;
use super::lower::Shader;

/// A compiled shader and the layout of its bindings.
pub(super) struct Pipeline {
    pub(super) compute: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

impl GpuContext {
    /// The pipeline of a shader, compiled when this context first sees its text; `compiled` counts that.
    pub(super) fn pipeline(&self, shader: &Shader, compiled: &mut u64) -> Arc<Pipeline> {
        let mut pipelines = self
            .pipelines
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(pipeline) = pipelines.get(&shader.wgsl) {
            return pipeline.clone();
        }
        *compiled += 1;
        let pipeline = Arc::new(self.compile(shader));
        pipelines.insert(shader.wgsl.clone(), pipeline.clone());
        pipeline
    }

    fn compile(&self, shader: &Shader) -> Pipeline {
        let label = Some(shader.name.as_str());
        let checks = if self.options.checked {
            wgpu::ShaderRuntimeChecks::checked()
        } else {
            wgpu::ShaderRuntimeChecks::unchecked()
        };
        // SAFETY: the shader is a kernel's. It ends, and guards every index by its dimensions;
        // a test runs ours with all checks on ragged sizes and finds the same bits.
        let module = unsafe {
            self.device.create_shader_module_trusted(
                wgpu::ShaderModuleDescriptor {
                    label,
                    source: wgpu::ShaderSource::Wgsl(shader.wgsl.as_str().into()),
                },
                checks,
            )
        };
        let entry = |binding: usize, ty: wgpu::BufferBindingType| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty,
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let mut entries = Vec::new();
        if shader.uniform {
            entries.push(entry(0, wgpu::BufferBindingType::Uniform));
        }
        for (index, writes) in shader.writes.iter().enumerate() {
            let read_only = !writes;
            entries.push(entry(
                index + 1,
                wgpu::BufferBindingType::Storage { read_only },
            ));
        }
        let layout = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label,
                entries: &entries,
            });
        let pipeline_layout = self
            .device
            .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label,
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
        let compute = self
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label,
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // Every kernel writes workgroup memory before it reads it.
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: None,
            });
        Pipeline { compute, layout }
    }
}
