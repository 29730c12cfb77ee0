//! How an adapter is opened.

use std::borrow::Cow;

use crate::kernels::naive_products;

use super::lower::Rewrite;

/// How an adapter is opened and shaders are built.
#[derive(Clone, Copy, Debug)]
pub struct GpuOptions {
    /// Let the driver check every index: slower, for tests.
    pub checked: bool,
    /// Ask for no more than every WebGPU adapter has: its default limits and no optional feature.
    pub portable: bool,
    /// What becomes of a kernel's shader before it is compiled.
    pub rewrite: Rewrite,
}

impl Default for GpuOptions {
    fn default() -> Self {
        GpuOptions {
            checked: false,
            portable: false,
            rewrite: |_, shader| Cow::Borrowed(shader),
        }
    }
}

impl GpuOptions {
    /// Every matrix product by plain loops instead of tiles: slow, and too simple to be wrong.
    pub fn naive() -> Self {
        GpuOptions {
            rewrite: |_, shader| Cow::Owned(naive_products(shader)),
            ..GpuOptions::default()
        }
    }
}
