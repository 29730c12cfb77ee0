//! From a kernel's WGSL to a pipeline, compiled once per set of constants.

use std::sync::Arc;

use crate::kernels::Step;

use super::GpuContext;

/// A compiled kernel and the layout of its bindings.
pub(super) struct Pipeline {
    pub(super) compute: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// Replaces the values of `const NAME: type = value;` lines.
///
/// A shader is valid as it stands, with its defaults; this makes its variants. Panics if there is
/// no such line: a mistake in the room or its shader, which the tests' walk over all kernels finds.
pub fn specialise(source: &str, constants: &[(&str, String)]) -> String {
    let mut text = source.to_owned();
    for (name, value) in constants {
        let declaration = format!("const {name}: ");
        let line = text
            .find(&declaration)
            .unwrap_or_else(|| panic!("no `{declaration}` in the shader"));
        let start = line + text[line..].find("= ").expect("a declaration has a value") + 2;
        let end = start + text[start..].find(';').expect("a declaration ends");
        text.replace_range(start..end, value);
    }
    text
}

impl GpuContext {
    /// The pipeline of a kernel's variant, compiled at its first use; `compiled` counts that.
    pub(super) fn pipeline(&self, step: &Step, compiled: &mut u64) -> Arc<Pipeline> {
        let key = format!("{} {:?}", step.name, step.dispatch.constants);
        let mut pipelines = self
            .pipelines
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        pipelines
            .entry(key)
            .or_insert_with(|| {
                *compiled += 1;
                Arc::new(self.compile(step))
            })
            .clone()
    }

    fn compile(&self, step: &Step) -> Pipeline {
        let (name, dispatch) = (step.name, &step.dispatch);
        let checks = if self.options.checked {
            wgpu::ShaderRuntimeChecks::checked()
        } else {
            wgpu::ShaderRuntimeChecks::unchecked()
        };
        let shader = (self.options.rewrite)(name, step.shader);
        let source = specialise(&shader, &dispatch.constants);
        // SAFETY: the shader is one of ours. It ends, and guards every index by its dimensions;
        // a test runs it with all checks on ragged sizes and finds the same bits.
        let module = unsafe {
            self.device.create_shader_module_trusted(
                wgpu::ShaderModuleDescriptor {
                    label: Some(name),
                    source: wgpu::ShaderSource::Wgsl(source.into()),
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
        if !dispatch.dims.is_empty() {
            entries.push(entry(0, wgpu::BufferBindingType::Uniform));
        }
        for (index, operand) in step.operands.iter().enumerate() {
            let read_only = !operand.is_written();
            entries.push(entry(
                index + 1,
                wgpu::BufferBindingType::Storage { read_only },
            ));
        }
        let layout = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(name),
                entries: &entries,
            });
        let pipeline_layout = self
            .device
            .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(name),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
        let compute = self
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(name),
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

#[cfg(test)]
mod tests {
    use super::specialise;

    #[test]
    fn constants_are_replaced_by_name() {
        let source = "const A: u32 = 1u; // one\nconst B: bool = false;";
        let text = specialise(source, &[("B", "true".to_owned()), ("A", "7u".to_owned())]);
        assert_eq!(text, "const A: u32 = 7u; // one\nconst B: bool = true;");
    }
}
