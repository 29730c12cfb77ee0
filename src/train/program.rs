//! The training program: every routine that training needs, over one set of buffers.

use std::sync::Arc;

use crate::buffer::{Element, View};
use crate::data::Examples;
use crate::emit::{Emitted, Group, Mode, Note, Tensor};
use crate::image::ImageShape;
use crate::kernels::clock::Advance;
use crate::kernels::gather::Noise;
use crate::kernels::random::Streams;
use crate::kernels::warp::Warp;
use crate::models::Task;
use crate::plan::{Pass, Plan, PlanBuilder, RoutineId};
use crate::recipe::Recipe;

use super::declare::{Declared, tensors};
use super::{Feed, Source, TrainError};

/// Images at a time where none are trained on: as many as MNIST's 500 of other sizes.
pub(super) fn evaluation_batch(image: ImageShape) -> usize {
    (500 * 784 / image.features()).clamp(10, 500)
}

/// Bytes of held-out images that lie on the device at a time, unless a single batch takes more.
const HELD_OUT_BYTES: usize = 8 << 20;

/// Held-out images that go through one routine: `batches` of `rows`.
#[derive(Clone, Debug)]
pub struct EvaluationPass {
    /// The routine of one batch.
    pub routine: RoutineId,
    /// Batches.
    pub batches: usize,
    /// Batches whose images lie on the device at a time.
    pub at_a_time: usize,
    /// Images per batch.
    pub rows: usize,
    /// First image of this pass.
    pub first: usize,
    /// What each batch notes, `[at_a_time]` each.
    pub notes: Vec<Note>,
}

/// A plan that trains, with the views through which the host takes part.
#[derive(Debug)]
pub struct Program {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The model's tensors, in order of declaration.
    pub tensors: Vec<Tensor>,
    /// Parameters that are updated together, with their optimisers.
    pub groups: Vec<Group>,
    /// One training step.
    pub train: RoutineId,
    /// What each step of an epoch notes, `[steps]` each.
    pub notes: Vec<Note>,
    /// Steps per epoch: whole batches only. The shuffle decides anew each epoch which images the
    /// ragged rest leaves out.
    pub steps: usize,
    /// Steps whose images the device holds at a time; all of them if it holds the whole set.
    pub window: usize,
    /// Training images: all of them, or those of a window in this epoch's order. The order is
    /// `[steps · batch]`: the epoch's shuffle, or one after the other, from the first again in every
    /// window.
    pub training: Feed,
    /// `[position, step]`
    pub clock: View,
    /// Held-out images, some batches at a time, one after the other.
    pub held_out: Feed,
    /// Full batches, and the ragged rest as a pass of its own: every image counts.
    pub evaluation: Vec<EvaluationPass>,
}

/// How many images there are, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataShape {
    /// Training images.
    pub train: usize,
    /// Held-out images.
    pub held_out: usize,
    /// One image.
    pub image: ImageShape,
    /// Classes of the images; 0 if they have no labels.
    pub classes: usize,
}

impl DataShape {
    /// Of these images.
    pub fn of(train: &Examples, held_out: &Examples) -> DataShape {
        DataShape {
            train: train.images.count,
            held_out: held_out.images.count,
            image: train.images.shape(),
            classes: train.classes,
        }
    }

    /// What a model of these images is made for.
    pub fn task(&self) -> Task {
        Task {
            image: self.image,
            classes: self.classes,
        }
    }
}

/// The recipe's noise, drawn from these streams.
pub fn noise(recipe: &Recipe, streams: Streams) -> Noise {
    Noise {
        warp: Warp {
            shift: recipe.noise.shift,
            rotation: recipe.noise.rotation / 360.0,
            scale: recipe.noise.scale,
            shear: recipe.noise.shear,
        },
        gaussian: recipe.noise.gaussian,
        masking: recipe.noise.masking,
        seed: recipe.train.seed,
        streams,
    }
}

impl Program {
    /// Writes the program down. Errors if a layer does not fit the images, or if it would take more
    /// than `memory` bytes.
    ///
    /// `recipe.train.batch` must not exceed `data.train`. The device is to hold the whole data set.
    pub fn new(recipe: &Recipe, data: DataShape, memory: u64) -> Result<Program, TrainError> {
        Program::in_plan(PlanBuilder::new(), recipe, data, usize::MAX, memory)
    }

    /// The same in a plan of a particular kind, a [guarded](PlanBuilder::guarded) one, say, for a
    /// device that holds the images of `window` steps at a time.
    pub fn in_plan(
        plan: PlanBuilder,
        recipe: &Recipe,
        data: DataShape,
        window: usize,
        memory: u64,
    ) -> Result<Program, TrainError> {
        let batch = recipe.train.batch;
        let steps = data.train.checked_div(batch).unwrap_or(0);
        if steps == 0 {
            let images = data.train;
            return Err(TrainError::BatchTooLarge { batch, images });
        }
        let Declared {
            mut emission,
            model,
        } = Declared::new(plan, recipe, data.task(), steps)?;
        let window = window.clamp(1, steps);
        let resident = if window == steps {
            data.train // the shuffle may choose any of them
        } else {
            window * batch
        };
        let clock = emission.plan.persistent("clock", Element::Index, 2);
        let mut feed = |name: &str, images: usize, order: usize, streams| {
            let plan = &mut emission.plan;
            let mut indices =
                |what, len| plan.persistent(format!("{name}.{what}"), Element::Index, len);
            let order = indices("order", order);
            let labels = model.reads_labels().then(|| indices("labels", images));
            let bytes = images * data.image.features();
            let images = plan.persistent(format!("{name}.images"), Element::Byte, bytes);
            Feed {
                source: Source::Images(images, data.image),
                labels,
                order,
                noise: noise(recipe, streams),
            }
        };
        let training = feed("train", resident, steps * batch, Streams::TRAINING);
        let per_batch = evaluation_batch(data.image);
        let (full, rest) = (data.held_out / per_batch, data.held_out % per_batch);
        let at_a_time = HELD_OUT_BYTES / (per_batch * data.image.features());
        let at_a_time = at_a_time.clamp(1, full.max(1));
        let most = (at_a_time * per_batch).min(data.held_out);
        let held_out = feed("held_out", most, most, Streams::EVALUATION);

        let mut e = emission.begin_step("train", Mode::Training, clock, steps);
        let rows = training.batch(&mut e, "gather", batch);
        model.train(&mut e, &rows);
        e.at("clock", Pass::Update).launch("", Advance { clock });
        let Emitted {
            routine: train,
            notes,
        } = e.end();

        let mut evaluation = Vec::new();
        let passes = [
            ("evaluate", full, at_a_time, per_batch, 0),
            ("evaluate rest", 1, 1, rest, full * per_batch),
        ];
        for (name, batches, at_a_time, rows, first) in passes {
            if batches * rows == 0 {
                continue;
            }
            let mut e = emission.begin_step(name, Mode::Evaluation, clock, at_a_time);
            let batch = held_out.batch(&mut e, "gather", rows);
            model.measure(&mut e, &batch);
            e.at("clock", Pass::Update).launch("", Advance { clock });
            let Emitted { routine, notes } = e.end();
            evaluation.push(EvaluationPass {
                routine,
                batches,
                at_a_time,
                rows,
                first,
                notes,
            });
        }
        let groups = emission.groups().to_vec();
        Ok(Program {
            plan: Arc::new(emission.plan.finish(memory)?),
            tensors: tensors(model.as_ref()),
            groups,
            train,
            notes,
            steps,
            window,
            training,
            clock,
            held_out,
            evaluation,
        })
    }
}
