//! What a plan knows before it runs: memory by lifetimes, and exact costs.

use diabolo::buffer::Lifetime;
use diabolo::image::ImageShape;
use diabolo::kernels::gemm::Gemm;
use diabolo::plan::Plan;
use diabolo::recipe::Recipe;
use diabolo::train::{DataShape, Program};

const DATA: DataShape = DataShape {
    train: 60_000,
    held_out: 10_000 + 77,
    image: ImageShape {
        height: 28,
        width: 28,
        channels: 1,
    },
    classes: 10,
};

fn program() -> Program {
    let recipe = Recipe::load("reference-dense").expect("built in");
    Program::new(&recipe, DATA, u64::MAX).expect("fits")
}

/// First and last launch of a routine that touch each buffer.
fn lifetimes(plan: &Plan, routine: usize) -> Vec<Option<(usize, usize)>> {
    let mut lifetimes = vec![None; plan.buffers.len()];
    for (step, launch) in plan.routines[routine].launches.iter().enumerate() {
        for operand in launch.kernel.operands() {
            let id = plan
                .buffers
                .iter()
                .position(|b| std::ptr::eq(b, plan.buffer(operand.view)));
            let lifetime = &mut lifetimes[id.expect("one of them")];
            let (first, _) = lifetime.unwrap_or((step, step));
            *lifetime = Some((first, step));
        }
    }
    lifetimes
}

#[test]
fn buffers_that_live_at_the_same_time_never_share_memory() {
    let plan = program().plan;
    let slot = |buffer: usize| plan.memory.slot_of[buffer];
    for routine in 0..plan.routines.len() {
        let lifetimes = lifetimes(&plan, routine);
        for a in 0..plan.buffers.len() {
            for b in 0..a {
                if let (Some(one), Some(other)) = (lifetimes[a], lifetimes[b]) {
                    let together = one.0 <= other.1 && other.0 <= one.1;
                    assert!(
                        !together || slot(a) != slot(b),
                        "{:?}",
                        (&plan.buffers[a], &plan.buffers[b])
                    );
                }
            }
        }
    }
    let touched = |buffer: usize| {
        let mut routines = 0..plan.routines.len();
        routines.any(|routine| lifetimes(&plan, routine)[buffer].is_some())
    };
    for (a, buffer) in plan.buffers.iter().enumerate() {
        // Some were for launches that nobody reads.
        assert!(
            !touched(a) || plan.memory.slots[slot(a)].len >= buffer.len,
            "{buffer:?} fits its slot"
        );
        if buffer.lifetime == Lifetime::Persistent {
            let sharing = (0..plan.buffers.len())
                .filter(|&b| slot(b) == slot(a))
                .count();
            assert_eq!(sharing, 1, "{buffer:?} keeps its memory to itself");
        }
    }
}

#[test]
fn temporaries_take_less_than_half_of_what_they_would_apart() {
    let plan = program().plan;
    let bytes = |lifetime: Lifetime| -> u64 {
        let of = plan
            .buffers
            .iter()
            .filter(|buffer| buffer.lifetime == lifetime);
        of.map(|buffer| buffer.len as u64 * buffer.element.bytes())
            .sum()
    };
    let apart = bytes(Lifetime::Persistent) + bytes(Lifetime::Internal);
    let planned = plan.memory.bytes() - apart;
    assert!(2 * planned < bytes(Lifetime::Temporary), "{planned}");
}

#[test]
fn the_products_of_a_step_cost_six_flops_per_weight_and_image_but_for_the_first_layer() {
    let program = program();
    let launches = program.plan.launches(program.train);
    let products = launches
        .iter()
        .filter(|l| l.kernel.downcast::<Gemm>().is_some());
    let flops: u64 = products.map(|launch| launch.kernel.cost().flops).sum();
    let (first, rest) = (
        784 * 512,
        512 * 256 + 256 * 64 + 64 * 256 + 256 * 512 + 512 * 784,
    );
    // The image's own gradient is not computed; the output has a bias and a sigmoid.
    let epilogue = 128 * 784 * 5;
    assert_eq!(flops, 128 * (4 * first + 6 * rest) + epilogue);
}

#[test]
fn a_plan_beyond_the_memory_names_its_largest_buffer() {
    let recipe = Recipe::load("reference-dense").expect("built in");
    let error = Program::new(&recipe, DATA, 1 << 20)
        .expect_err("too large")
        .to_string();
    assert!(
        error.contains("train.images") && error.contains("at most 1 MiB"),
        "{error}"
    );
}
