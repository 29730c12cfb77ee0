//! The training program: every routine that training needs, over one set of buffers.

use std::sync::Arc;

use crate::image::ImageShape;
use crate::kernels::adam::{Adam, Hyperparameters};
use crate::kernels::clock::Advance;
use crate::kernels::gather::{Gather, Noise};
use crate::kernels::loss::{self, Loss};
use crate::kernels::random::Stream;
use crate::kernels::warp::Warp;
use crate::layers::{Mode, Parameters};
use crate::models::Autoencoder;
use crate::plan::{Element, Matrix, Plan, PlanBuilder, RoutineId, View};
use crate::recipe::Recipe;

use super::TrainError;

/// Images at a time where none are trained on: as many as MNIST's 500 of other sizes.
pub(super) fn evaluation_batch(image: ImageShape) -> usize {
    (500 * 784 / image.features()).clamp(10, 500)
}

/// Held-out images that go through one routine: `times` batches of `rows`.
#[derive(Clone, Debug)]
pub struct EvaluationPass {
    /// The routine of one batch.
    pub routine: RoutineId,
    /// Batches.
    pub times: usize,
    /// Images per batch.
    pub rows: usize,
    /// First image of this pass.
    pub first: usize,
    /// Indices `[times · rows]` of the images.
    pub order: View,
    /// `[times]`
    pub losses: View,
}

/// A plan that trains, with the views through which the host takes part.
pub struct Program {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The model's tensors.
    pub parameters: Parameters,
    /// One training step.
    pub train: RoutineId,
    /// Steps per epoch: whole batches only. The shuffle decides anew each epoch which images the
    /// ragged rest leaves out.
    pub steps: usize,
    /// Training images, bytes.
    pub images: View,
    /// This epoch's shuffle `[steps · batch]`.
    pub order: View,
    /// `[position, step]`
    pub clock: View,
    /// Adam's `[steps, 2]`.
    pub schedule: View,
    /// Loss of each step of this epoch.
    pub losses: View,
    /// Held-out images, bytes.
    pub held_out: View,
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
}

/// The recipe's noise, drawn from one stream.
pub fn noise(recipe: &Recipe, stream: Stream) -> Noise {
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
        stream,
    }
}

impl Program {
    /// Writes the program down. Errors if a layer does not fit the images, or if it would take more
    /// than `memory` bytes.
    ///
    /// `recipe.train.batch` must not exceed `data.train`.
    pub fn new(recipe: &Recipe, data: DataShape, memory: u64) -> Result<Program, TrainError> {
        Program::in_plan(PlanBuilder::new(), recipe, data, memory)
    }

    /// The same in a plan of a particular kind, a [guarded](PlanBuilder::guarded) one, say.
    pub fn in_plan(
        mut plan: PlanBuilder,
        recipe: &Recipe,
        data: DataShape,
        memory: u64,
    ) -> Result<Program, TrainError> {
        let model = Autoencoder::new(&mut plan, &recipe.model.shape(data.image))?;
        let features = data.image.features();
        let batch = recipe.train.batch;
        let steps = data.train / batch;
        let [images, held_out] = [
            ("train.images", data.train),
            ("held_out.images", data.held_out),
        ]
        .map(|(name, count)| plan.persistent(name, Element::Byte, count * features));
        let order = plan.persistent("train.order", Element::Index, steps * batch);
        let clock = plan.persistent("clock", Element::Index, 2);
        let schedule = plan.persistent("adam.schedule", Element::Real, 2 * steps);
        let losses = plan.persistent("train.losses", Element::Real, steps);

        let train = plan.begin("train");
        let source = Source {
            images,
            order,
            clock,
            image: data.image,
            noise: noise(recipe, Stream::Training),
        };
        let (clean, noisy) = source.gather(&mut plan, batch);
        train_step(&mut plan, &model, clean, noisy, clock, losses);
        plan.launch(
            "adam",
            Adam {
                parameters: plan.whole(model.parameters.values),
                gradients: plan.whole(model.parameters.gradients),
                mean: plan.whole(model.parameters.mean),
                variance: plan.whole(model.parameters.variance),
                schedule,
                clock,
                hyper: Hyperparameters::default(),
            },
        );
        plan.launch("clock", Advance { clock });

        let mut evaluation = Vec::new();
        let per_batch = evaluation_batch(data.image);
        let (full, rest) = (data.held_out / per_batch, data.held_out % per_batch);
        let passes = [
            ("evaluate", full, per_batch, 0),
            ("evaluate rest", 1, rest, full),
        ];
        for (name, times, rows, batches_before) in passes {
            if times * rows == 0 {
                continue;
            }
            let order = plan.persistent(format!("{name}.order"), Element::Index, times * rows);
            let losses = plan.persistent(format!("{name}.losses"), Element::Real, times);
            let routine = plan.begin(name);
            let source = Source {
                images: held_out,
                order,
                clock,
                image: data.image,
                noise: noise(recipe, Stream::Evaluation),
            };
            let (clean, noisy) = source.gather(&mut plan, rows);
            let (code, _) = model.encoder.forward(&mut plan, noisy, Mode::Evaluation);
            let (y, _) = model.decoder.forward(&mut plan, code, Mode::Evaluation);
            note_loss(&mut plan, model.loss, [y.view, clean.view], clock, losses);
            plan.launch("clock", Advance { clock });
            evaluation.push(EvaluationPass {
                routine,
                times,
                rows,
                first: batches_before * per_batch,
                order,
                losses,
            });
        }
        Ok(Program {
            plan: Arc::new(plan.finish(memory)?),
            parameters: model.parameters,
            train,
            steps,
            images,
            order,
            clock,
            schedule,
            losses,
            held_out,
            evaluation,
        })
    }
}

/// Where batches come from.
struct Source {
    images: View,
    order: View,
    clock: View,
    image: ImageShape,
    noise: Noise,
}

impl Source {
    /// Appends the gathering of a batch. Returns it clean and noisy, `[rows, features]`.
    fn gather(self, plan: &mut PlanBuilder, rows: usize) -> (Matrix, Matrix) {
        let features = self.image.features();
        let clean = plan.temporary_matrix("clean", rows, features);
        let noisy = plan.temporary_matrix("noisy", rows, features);
        plan.launch(
            "gather",
            Gather {
                images: self.images,
                order: self.order,
                clock: self.clock,
                image: self.image,
                clean,
                noisy,
                noise: self.noise,
            },
        );
        (clean, noisy)
    }
}

/// Appends forward, loss and backward of one batch: everything but gathering and Adam.
pub fn train_step(
    plan: &mut PlanBuilder,
    model: &Autoencoder,
    clean: Matrix,
    noisy: Matrix,
    clock: View,
    losses: View,
) {
    let (code, encoder) = model.encoder.forward(plan, noisy, Mode::Training);
    let (y, decoder) = model.decoder.forward(plan, code, Mode::Training);
    note_loss(plan, model.loss, [y.view, clean.view], clock, losses);
    let dy = plan.temporary_matrix("dy", y.rows, y.cols);
    plan.launch(
        "loss gradient",
        loss::Gradient {
            y: y.view,
            target: clean.view,
            dy: dy.view,
            loss: model.loss,
        },
    );
    let d_code = model
        .decoder
        .backward(plan, &decoder, dy, true)
        .expect("asked for");
    model.encoder.backward(plan, &encoder, d_code, false);
}

/// Appends the mean loss over all elements of `y`, noted in `losses` at the clock's position.
pub fn note_loss(
    plan: &mut PlanBuilder,
    loss: Loss,
    [y, target]: [View; 2],
    clock: View,
    losses: View,
) {
    let partial = plan.temporary("loss.partial", y.len.div_ceil(loss::BLOCK));
    plan.launch(
        "loss, blocks",
        loss::Partial {
            y,
            target,
            partial,
            loss,
        },
    );
    plan.launch(
        "loss",
        loss::Finish {
            partial,
            elements: y.len,
            clock,
            losses,
        },
    );
}
