//! The GPU that tests run on.

use std::sync::Arc;

use diabolo::device::any_gpu;
use diabolo::device::gpu::{GpuContext, GpuOptions};

/// The best adapter, a software one too. None, with a word on it, where there is no adapter:
/// a failure only where `DIABOLO_REQUIRE_GPU` asks for one.
pub fn gpu(options: GpuOptions) -> Option<Arc<GpuContext>> {
    let context = any_gpu(options).expect("an adapter that is there opens");
    if context.is_none() {
        assert!(
            std::env::var_os("DIABOLO_REQUIRE_GPU").is_none(),
            "DIABOLO_REQUIRE_GPU is set, and there is no adapter"
        );
        println!("skipped: no GPU adapter, not even a software one");
    }
    context
}
