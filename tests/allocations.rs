//! A training step on the CPU allocates nothing of its own.
//!
//! `matrixmultiply` allocates a packing buffer in every call and frees it at its end; those are
//! counted apart, by their alignment to a cache line or more, which nothing else here asks for.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{digits, small, small_conv};
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::recipe::Recipe;
use diabolo::train::Trainer;

struct Counting;

static PACKING: AtomicUsize = AtomicUsize::new(0);
static OTHER: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system allocator's, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let counter = if layout.align() >= 32 {
            &PACKING
        } else {
            &OTHER
        };
        counter.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the system allocator's own.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_step_allocates_only_what_matrixmultiply_packs_into() {
    // One test for both: other tests would allocate meanwhile.
    for recipe in [small(), small_conv()] {
        count_allocations(&recipe);
    }
}

fn count_allocations(recipe: &Recipe) {
    let data = digits();
    let backend = Backend::Cpu(Cpu::<f32>::pool(2).expect("threads"));
    let mut trainer = Trainer::new(recipe, &data.train, &data.test, &backend, None).expect("fits");
    let train = trainer.program().train;
    let device = trainer.device();
    device.run(train, 2).expect("runs");
    let count = || [&OTHER, &PACKING].map(|counter| counter.load(Ordering::Relaxed));
    let [other, packing] = count();
    device.run(train, 5).expect("runs");
    let [other_after, packing_after] = count();
    println!(
        "{}, 5 steps: {} of our own, {} by matrixmultiply",
        recipe.name,
        other_after - other,
        packing_after - packing
    );
    // Entering the thread pool may cost one block of its queue; steps cost nothing.
    assert!(
        other_after - other <= 1,
        "{} allocations in five steps",
        other_after - other
    );
    assert!(
        packing_after > packing,
        "the packing buffers are recognised"
    );
}
