//! What trains, encodes, searches and computes can be moved to another thread.

use diabolo::device::Device;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::Gpu;
use diabolo::evaluate::Search;
use diabolo::train::{Inference, Trainer};

fn is_send<T: Send + ?Sized>() {}

#[test]
fn trainers_inferences_searches_and_devices_can_be_sent() {
    is_send::<Trainer>();
    is_send::<Inference>();
    is_send::<Search>();
    is_send::<dyn Device>();
    is_send::<Cpu<f32>>();
    is_send::<Gpu>();
}
