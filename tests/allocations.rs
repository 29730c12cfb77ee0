//! A training step on the CPU allocates nothing. The test counts the allocations of its whole process, and is
//! therefore alone in it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use diabolo::data::mnist;
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::recipe::Recipe;
use diabolo::train::Trainer;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system allocator's, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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
fn a_step_allocates_nothing() {
    // One test for both: other tests would allocate meanwhile.
    for recipe in [
        include_str!("it/common/small.toml"),
        include_str!("it/common/small-conv.toml"),
    ] {
        count_allocations(&Recipe::parse("small", recipe).expect("valid"));
    }
}

fn count_allocations(recipe: &Recipe) {
    let mut data = mnist::load().expect("bundled");
    data.truncate(600, 130);
    let team = Cpu::<f32>::team(2).expect("threads");
    // A thread that starts allocates: wait until both have arrived.
    let arrived = AtomicUsize::new(0);
    team.share_out(2, |_, _| {
        arrived.fetch_add(1, Ordering::SeqCst);
        while arrived.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
    });
    let backend = Backend::Cpu(team);
    let mut trainer = Trainer::new(recipe, &data.train, &data.test, &backend, None).expect("fits");
    let train = trainer.program().train;
    let device = trainer.device();
    device.run(train, 2).expect("runs");
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    device.run(train, 5).expect("runs");
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(allocations, 0, "{}, five steps", recipe.name);
}
