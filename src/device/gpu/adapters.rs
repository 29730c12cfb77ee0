//! The adapters there are.

use std::sync::Arc;

use crate::device::{AdapterListing, DeviceError};

use super::{GpuContext, GpuOptions};

/// An adapter that is not open yet.
pub(in crate::device) struct Adapter(wgpu::Adapter);

/// Every adapter of the platform's own interface (Vulkan, Metal or DirectX 12), the best first; none where
/// there is no driver.
pub(in crate::device) fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    // The sort keeps the driver's order among equals.
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => 2,
        wgpu::DeviceType::Cpu => 3,
    });
    adapters.into_iter().map(Adapter).collect()
}

/// Whether an adapter computes on the CPU after all.
pub(super) fn is_software(adapter: &wgpu::Adapter) -> bool {
    adapter.get_info().device_type == wgpu::DeviceType::Cpu
}

impl Adapter {
    pub(in crate::device) fn name(&self) -> String {
        self.0.get_info().name
    }

    /// Whether it computes on the CPU after all.
    pub(in crate::device) fn is_software(&self) -> bool {
        is_software(&self.0)
    }

    pub(in crate::device) fn open(
        &self,
        options: GpuOptions,
    ) -> Result<Arc<GpuContext>, DeviceError> {
        GpuContext::open(&self.0, options)
    }

    pub(in crate::device) fn listing(&self) -> AdapterListing {
        let adapter = &self.0;
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        AdapterListing {
            software: is_software(adapter),
            backend: info.backend.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info),
            name: info.name,
            max_buffer_size: limits.max_buffer_size,
            max_storage_binding_size: limits.max_storage_buffer_binding_size,
            max_workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_workgroup_threads: limits.max_compute_invocations_per_workgroup,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
        }
    }
}
