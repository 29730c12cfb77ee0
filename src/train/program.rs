//! The training program: every routine that training needs, over one set of buffers.

use std::sync::Arc;

use crate::buffer::{Element, Matrix, View};
use crate::image::ImageShape;
use crate::kernels::adam::{Adam, Hyperparameters};
use crate::kernels::clock::Advance;
use crate::kernels::gather::{Gather, Noise};
use crate::kernels::loss::{self, Loss};
use crate::kernels::random::Stream;
use crate::kernels::warp::Warp;
use crate::layers::{Mode, Parameters};
use crate::models::Autoencoder;
use crate::plan::{Plan, PlanBuilder, RoutineId};
use crate::recipe::Recipe;

use super::TrainError;

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
    /// `[at_a_time]`
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
    /// Steps whose images the device holds at a time; all of them if it holds the whole set.
    pub window: usize,
    /// Training images, bytes: all of them, or those of a window in this epoch's order.
    pub images: View,
    /// Which of these images each step takes, `[steps · batch]`: the epoch's shuffle, or one after
    /// the other, from the first again in every window.
    pub order: View,
    /// `[position, step]`
    pub clock: View,
    /// Adam's `[steps, 2]`.
    pub schedule: View,
    /// Loss of each step of this epoch.
    pub losses: View,
    /// Held-out images, bytes, some batches at a time.
    pub held_out: View,
    /// Indices of those images: one after the other.
    pub held_out_order: View,
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
    /// `recipe.train.batch` must not exceed `data.train`. The device is to hold the whole data set.
    pub fn new(recipe: &Recipe, data: DataShape, memory: u64) -> Result<Program, TrainError> {
        Program::in_plan(PlanBuilder::new(), recipe, data, usize::MAX, memory)
    }

    /// The same in a plan of a particular kind, a [guarded](PlanBuilder::guarded) one, say, for a
    /// device that holds the images of `window` steps at a time.
    pub fn in_plan(
        mut plan: PlanBuilder,
        recipe: &Recipe,
        data: DataShape,
        window: usize,
        memory: u64,
    ) -> Result<Program, TrainError> {
        let model = Autoencoder::new(&mut plan, &recipe.model.shape(data.image))?;
        let features = data.image.features();
        let batch = recipe.train.batch;
        let steps = data.train / batch;
        let window = window.clamp(1, steps);
        let resident = match window == steps {
            true => data.train, // the shuffle may choose any of them
            false => window * batch,
        };
        let images = plan.persistent("train.images", Element::Byte, resident * features);
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
                ends: model.parameters.ends(),
            },
        );
        plan.launch("clock", Advance { clock });

        let mut evaluation = Vec::new();
        let per_batch = evaluation_batch(data.image);
        let (full, rest) = (data.held_out / per_batch, data.held_out % per_batch);
        let at_a_time = (HELD_OUT_BYTES / (per_batch * features)).clamp(1, full.max(1));
        let most = (at_a_time * per_batch).min(data.held_out);
        let held_out = plan.persistent("held_out.images", Element::Byte, most * features);
        let held_out_order = plan.persistent("held_out.order", Element::Index, most);
        let passes = [
            ("evaluate", full, at_a_time, per_batch, 0),
            ("evaluate rest", 1, 1, rest, full * per_batch),
        ];
        for (name, batches, at_a_time, rows, first) in passes {
            if batches * rows == 0 {
                continue;
            }
            let losses = plan.persistent(format!("{name}.losses"), Element::Real, at_a_time);
            let routine = plan.begin(name);
            let source = Source {
                images: held_out,
                order: held_out_order,
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
                batches,
                at_a_time,
                rows,
                first,
                losses,
            });
        }
        Ok(Program {
            plan: Arc::new(plan.finish(memory)?),
            parameters: model.parameters,
            train,
            steps,
            window,
            images,
            order,
            clock,
            schedule,
            losses,
            held_out,
            held_out_order,
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
