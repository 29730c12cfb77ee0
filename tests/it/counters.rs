//! What training asks of a GPU, counted: once a plan is loaded, nothing is created and nobody waits.

use crate::common::adapter;
use crate::common::{digits, small, small_conv};
use diabolo::device::Backend;
use diabolo::device::gpu::{Counters, GpuOptions};
use diabolo::recipe::Recipe;
use diabolo::train::{Metrics, Outcome, Silent, Trainer};
use tempfile::tempdir;

/// A recipe on a GPU, if there is one.
fn trainer(recipe: &Recipe) -> Option<Trainer> {
    let backend = Backend::Gpu(adapter::gpu(GpuOptions::default())?);
    let data = digits();
    Some(Trainer::new(recipe, &data.train, &data.test, &backend, None).expect("fits"))
}

fn counters(trainer: &mut Trainer) -> Counters {
    trainer.device().counters().expect("a GPU counts")
}

#[test]
fn steps_are_few_submissions_of_one_pass_and_ask_for_nothing_else() {
    /// Dispatches of a submission, at most.
    const LIMIT: u64 = 2048;
    for (mut recipe, batch) in [(small(), 8), (small_conv(), 60)] {
        recipe.train.batch = batch;
        let Some(mut trainer) = trainer(&recipe) else {
            return;
        };
        let program = trainer.program();
        let (train, steps) = (program.train, program.steps);
        let launches = program.plan.launches(train).len() as u64;
        let before = counters(&mut trainer);
        assert!(before.pipelines > 0 && before.bind_groups > launches);
        trainer.device().run(train, steps).expect("runs");
        let asked = counters(&mut trainer) - before;
        let per_step = asked.dispatches / steps as u64;
        let submits = (steps as u64).div_ceil(LIMIT / per_step);
        let expected = Counters {
            submits,
            passes: submits,
            launches: steps as u64 * launches,
            dispatches: steps as u64 * per_step,
            ..Counters::default()
        };
        assert_eq!(asked, expected, "{}", recipe.name);
        assert!(per_step >= launches, "{}", recipe.name);
        assert!(batch > 8 || submits > 1, "{submits}");
    }
}

#[test]
fn epochs_create_nothing_and_wait_only_for_what_they_read() {
    /// Steps given to the device at a time.
    const TURN: u64 = 16;
    let mut recipe = small();
    recipe.train.batch = 32;
    let Some(mut trainer) = trainer(&recipe) else {
        return;
    };
    let folder = tempdir().expect("a folder");
    let mut metrics = Metrics::open(&folder.path().join("metrics.csv"), 0).expect("written");
    let before = counters(&mut trainer);
    let outcome = trainer
        .run(
            Some(&folder.path().join("checkpoint")),
            &mut metrics,
            &mut Silent,
        )
        .expect("trains");
    assert_eq!(outcome, Outcome::Finished);
    let asked = counters(&mut trainer) - before;
    let created = (asked.pipelines, asked.bind_groups, asked.buffers);
    assert_eq!(created, (0, 0, 0));
    assert_eq!(asked.waits, asked.reads);
    // One more for the held-out images, and one for the rest of them that fills no batch.
    let epochs = recipe.train.epochs as u64;
    let turns = (trainer.steps() as u64).div_ceil(TURN) + 2;
    assert!(asked.submits - asked.reads <= epochs * turns, "{asked:?}");
    assert_eq!(asked.passes, asked.submits - asked.reads);
}
