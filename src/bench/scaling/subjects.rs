//! What is measured along each axis.

use std::rc::Rc;
use std::time::Duration;

use crate::data::draws::Sampling;
use crate::data::synthetic::{CLASSES, Synthetic};
use crate::data::{Images, idx};
use crate::device::{Backend, HostData};
use crate::evaluate::{
    Distance, Draws, FewLabel, Knn, Labels, Origin, Representation, Search, few_label,
};
use crate::kernels::nearest;
use crate::machine::resident_set;
use crate::plan::PlanBuilder;
use crate::recipe::Recipe;
use crate::train::Trainer;

use super::{Axis, Measured, ScalingError, repeat};

/// Side of all images.
const SIDE: usize = 28;
/// Queries of a search.
const QUERIES: usize = 32;
/// Steps of a window where training images are streamed.
const WINDOW: usize = 4;
/// Images of a few-label evaluation: to draw from, and to classify.
const LABELS: [usize; 2] = [20_000, 500];

/// One way to do what an axis measures.
pub(super) struct Subject<'a> {
    pub name: &'static str,
    pub memory_is: &'static str,
    /// Measures one size.
    pub measure: Measure<'a>,
}

type Measure<'a> = Box<dyn FnMut(usize) -> Result<Measured, ScalingError> + 'a>;

/// The ways there are, for sizes up to `largest`.
pub(super) fn subjects<'a>(
    axis: Axis,
    largest: usize,
    backend: &'a Backend,
    budget: Duration,
) -> Result<Vec<Subject<'a>>, ScalingError> {
    let planned = |measure: Measure<'a>| Subject {
        name: "",
        memory_is: "planned",
        measure,
    };
    Ok(match axis {
        Axis::Batch => vec![planned(Box::new(move |batch| {
            let mut recipe = reference();
            recipe.train.batch = batch;
            step(&recipe, backend, budget)
        }))],
        Axis::Width => vec![planned(Box::new(move |width| {
            let mut recipe = reference();
            set_widths(&mut recipe, &[width; 2], None);
            step(&recipe, backend, budget)
        }))],
        Axis::Data => {
            // One file for all sizes, kept as long as anything reads it.
            let folder = tempfile::tempdir().map_err(ScalingError::Folder)?;
            synthetic(largest).write(&folder.path().join("images"), None, |_| ())?;
            let folder = Rc::new(folder);
            // First what takes little: memory that is given back may stay with the process.
            let ways = [("in windows", WINDOW), ("all on the device", usize::MAX)];
            let subject = |(name, window): (&'static str, usize)| {
                let folder = folder.clone();
                Subject {
                    name,
                    memory_is: "resident",
                    measure: Box::new(move |count| {
                        let mut images = idx::read_images(&folder.path().join("images"))?;
                        images.truncate(count);
                        epoch(images, window, backend, budget)
                    }),
                }
            };
            ways.map(subject).into()
        }
        Axis::References => {
            let (rows, _) = synthetic(largest.max(QUERIES)).in_memory();
            vec![planned(Box::new(move |count| {
                let shapes = [(1, vec![count])];
                let mut search = Search::new(
                    backend,
                    [QUERIES, count, SIDE * SIDE],
                    &Distance::ALL,
                    nearest::K,
                    &shapes,
                )?;
                let memory = Some(search.memory());
                search.set_references(&rows, 0..count)?;
                let all = Draws {
                    lists: vec![(0..count as u32).collect()],
                    sizes: vec![count],
                };
                search.set_draws(0, &all)?;
                let run = || Ok(search.run(&rows, 0..QUERIES).map(|_| ())?);
                let times = repeat(budget, run)?;
                Ok(Measured { times, memory })
            }))]
        }
        Axis::Labels => {
            let [known, asked] = LABELS;
            let (images, classes) = synthetic(known + asked).in_memory();
            // Features are to be narrower than pixels.
            let (features, _) = Synthetic::new(known + asked, [8, 8], 0).in_memory();
            let split = move |all: &Images| {
                let indices: Vec<usize> = (0..known + asked).collect();
                [all.pick(&indices[..known]), all.pick(&indices[known..])]
            };
            let ([train, test], [train_features, test_features]) =
                (split(&images), split(&features));
            vec![Subject {
                name: "",
                memory_is: "resident",
                measure: Box::new(move |labels| {
                    let setting = FewLabel {
                        labels: vec![labels],
                        draws: 10,
                        sampling: Sampling::Uniform,
                        seed: 0,
                    };
                    let mut largest = None;
                    let mut watch = |_: f64| {
                        largest = largest.max(resident_set());
                        Ok(())
                    };
                    let (known, asked) = classes.split_at(train.count);
                    let labels = Labels {
                        train: known,
                        test: asked,
                        classes: CLASSES.into(),
                    };
                    let representations = [
                        ("pixels", &train, &test),
                        ("features", &train_features, &test_features),
                    ]
                    .map(|(name, train, test)| Representation { name, train, test });
                    let origin = Origin::default();
                    let times = repeat(budget, || {
                        few_label(
                            backend,
                            &[&Knn],
                            &representations,
                            labels,
                            &setting,
                            &origin,
                            &mut watch,
                        )?;
                        Ok(())
                    })?;
                    Ok(Measured {
                        times,
                        memory: largest,
                    })
                }),
            }]
        }
    })
}

fn reference() -> Recipe {
    Recipe::load("reference-dense").expect("built in")
}

fn synthetic(count: usize) -> Synthetic {
    Synthetic::new(count, [SIDE; 2], 0)
}

/// One training step, over and over.
fn step(recipe: &Recipe, backend: &Backend, budget: Duration) -> Result<Measured, ScalingError> {
    let (images, _) = synthetic(recipe.train.batch).in_memory();
    let mut trainer = Trainer::new(recipe, &images, &images.pick(&[0]), backend, None)?;
    let program = trainer.program();
    let (plan, train) = (program.plan.clone(), program.train);
    let (clock, losses) = (program.clock, program.notes[0].values);
    let device = trainer.device();
    let times = repeat(budget, || {
        device.write(clock, HostData::Index(&[0, 1]))?;
        device.run(train, 1)?;
        // Waits until it is done.
        device.read_real(losses)?;
        Ok(())
    })?;
    let memory = Some(plan.memory.bytes());
    Ok(Measured { times, memory })
}

/// Epochs of a small model, so that the images count for something.
fn epoch(
    images: Images,
    window: usize,
    backend: &Backend,
    budget: Duration,
) -> Result<Measured, ScalingError> {
    let mut recipe = reference();
    set_widths(&mut recipe, &[128], Some(32));
    recipe.train.batch = recipe.train.batch.min(images.count);
    let held_out = images.pick(&[0]);
    let plan = PlanBuilder::new();
    let mut trainer = Trainer::in_plan(
        plan,
        &recipe,
        &images,
        &held_out,
        backend,
        None,
        Some(window),
    )?;
    let mut memory = None;
    let times = repeat(budget, || {
        trainer.run_steps(trainer.steps())?;
        trainer.losses()?;
        memory = memory.max(resident_set());
        trainer.next_epoch()?;
        Ok(())
    })?;
    Ok(Measured { times, memory })
}

/// Gives an autoencoder other widths.
fn set_widths(recipe: &mut Recipe, hidden: &[usize], code: Option<usize>) {
    if let Some(model) = recipe.model.autoencoder_mut() {
        model.hidden = hidden.to_vec();
        model.code = code.unwrap_or(model.code);
    }
}
