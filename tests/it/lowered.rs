//! A lowered plan is all that a GPU has to be told, and it asks for no more than every GPU has.

use crate::common::adapter;
use std::borrow::Cow;

use crate::common::{digits, examples_for};
use diabolo::device::Backend;
use diabolo::device::gpu::GpuOptions;
use diabolo::device::gpu::lower::Lowered;
use diabolo::recipe::{BUILT_IN, Recipe};
use diabolo::train::{DataShape, Program, Trainer};

/// Every recipe with a batch of its images: more come in windows as large as a buffer may be.
fn recipes() -> impl Iterator<Item = (Recipe, DataShape)> {
    BUILT_IN.iter().map(|(name, _)| {
        let recipe = Recipe::load(name).expect("built in");
        let image = recipe.data.image().expect("known");
        let shape = DataShape {
            train: recipe.train.batch,
            held_out: recipe.train.batch,
            image,
            classes: recipe.data.classes().unwrap_or(10),
        };
        (recipe, shape)
    })
}

fn lowered(recipe: &Recipe, shape: DataShape) -> Lowered {
    let program = Program::new(recipe, shape, u64::MAX).expect("fits");
    Lowered::new(&program.plan, |_, shader| Cow::Borrowed(shader))
}

#[test]
fn a_lowered_plan_written_down_and_read_again_is_the_same() {
    for (recipe, shape) in recipes() {
        let lowered = lowered(&recipe, shape);
        let text = serde_json::to_string(&lowered).expect("plain data");
        let read: Lowered = serde_json::from_str(&text).expect("what was written");
        assert!(read == lowered, "{}", recipe.name);
    }
}

/// What WebGPU's specification promises of every adapter, in its table of limits.
#[test]
fn every_dispatch_stays_within_webgpus_default_limits() {
    const STORAGE_BUFFERS: usize = 8;
    const GROUPS: u32 = 65_535;
    const ALIGNMENT: u64 = 256;
    for (recipe, shape) in recipes() {
        let lowered = lowered(&recipe, shape);
        assert!(lowered.dispatches().count() > 0);
        for dispatch in lowered.dispatches() {
            let shader = &lowered.shaders[dispatch.shader];
            let what = format!("{}: {}", recipe.name, shader.name);
            assert!(dispatch.bindings.len() <= STORAGE_BUFFERS, "{what}");
            assert_eq!(dispatch.bindings.len(), shader.writes.len(), "{what}");
            assert!(dispatch.groups.iter().all(|&g| g <= GROUPS), "{what}");
            for binding in &dispatch.bindings {
                assert!(binding.offset.is_multiple_of(ALIGNMENT), "{what}");
                let end = binding.offset + binding.bytes;
                assert!(
                    binding.bytes > 0 && end <= lowered.slots[binding.slot],
                    "{what}"
                );
            }
            let uniform = dispatch.uniform.unwrap_or([0; 2]);
            assert_eq!(dispatch.uniform.is_some(), shader.uniform, "{what}");
            assert!(uniform[0].is_multiple_of(ALIGNMENT), "{what}");
            let end = uniform[0] + uniform[1];
            assert!(end <= 4 * lowered.uniforms.len() as u64, "{what}");
        }
    }
}

#[test]
fn every_recipe_trains_on_a_gpu_opened_with_webgpus_default_limits() {
    let options = GpuOptions {
        portable: true,
        ..GpuOptions::default()
    };
    let Some(context) = adapter::gpu(options) else {
        return;
    };
    assert!(!context.has_subgroups(), "no optional feature");
    let backend = Backend::Gpu(context);
    assert!(backend.largest_buffer() <= 128 << 20);
    let digits = digits();
    for (mut recipe, shape) in recipes() {
        let began = std::time::Instant::now();
        // Memory and bindings of the recipe's own batch,
        let program = Program::new(&recipe, shape, backend.largest_buffer()).expect("fits");
        backend.load(program.plan).expect("loads");
        // and steps of a smaller one, for a software renderer is slow.
        let images = examples_for(&recipe, &digits);
        recipe.train.batch = 16;
        let mut trainer =
            Trainer::new(&recipe, images.clone(), images, &backend, None).expect("fits");
        trainer.run_steps(2).expect("runs");
        let losses = trainer.losses().expect("readable");
        assert!(
            losses[..2].iter().all(|loss| loss.is_finite()),
            "{losses:?}"
        );
        println!(
            "{}: {:.1?}, {:?}",
            recipe.name,
            began.elapsed(),
            &losses[..2]
        );
    }
}
