//! Every layer, every loss and every model that can be checked, in random shapes.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::buffer::{Element, Matrix};
use crate::emit::{Emission, Emitter, Gradient, Init, Layout, Parameters};
use crate::image::ImageShape;
use crate::kernels::elementwise::Copy;
use crate::kernels::loss::{self, Loss};
use crate::kernels::upsample::Enlargement;
use crate::kernels::{Activation, Window};
use crate::layers::{
    ActivationLayer, AvgPool2d, BatchNorm, Conv2d, ConvTranspose2d, Dense, Dropout, GaussianSample,
    Join, MaxPool2d, Reshape, Upsample2d,
};
use crate::models::{Batch, Model, ModelError, Task};
use crate::objective::{
    Per, kl_sparsity, kl_to_normal, l1_sparsity, reconstruction, softmax_cross_entropy,
};
use crate::plan::{Pass, PlanBuilder};
use crate::recipe::Recipe;

use super::{Case, Geometry, Input};

/// How to make a case of a kind of layer, given its name, the number of the shape, and where to draw
/// the shape from.
enum Make {
    /// With an activation fused into it.
    Fused(fn(&str, Activation, usize, &mut ChaCha8Rng) -> Case),
    /// As it is.
    Plain(fn(&str, usize, &mut ChaCha8Rng) -> Case),
}
use Make::{Fused, Plain};

const KINDS: &[(&str, Make)] = &[
    ("dense", Fused(dense)),
    ("conv2d", Fused(conv2d)),
    ("conv_transpose2d", Fused(conv_transpose2d)),
    ("batch_norm", Fused(batch_norm)),
    ("activation", Fused(activation)),
    ("max_pool2d", Plain(max_pool2d)),
    ("avg_pool2d", Plain(avg_pool2d)),
    ("upsample2d", Plain(upsample2d)),
    ("reshape", Plain(reshape)),
    ("dropout", Plain(dropout)),
    ("join", Plain(join)),
    ("gaussian_sample", Plain(gaussian_sample)),
    ("mse", Plain(mse)),
    ("bce", Plain(bce)),
    ("softmax", Plain(softmax)),
    ("kl", Plain(kl)),
    ("l1_sparsity", Plain(l1)),
    ("kl_sparsity", Plain(sparsity)),
];

/// Names of the layers and losses there are.
pub fn layer_names() -> Vec<&'static str> {
    KINDS.iter().map(|(name, _)| *name).collect()
}

/// The cases of one kind of layer or loss: each activation that it can fuse, in `shapes` random
/// shapes. None if there is no such kind.
pub fn layer_cases(name: &str, shapes: usize, seed: u64) -> Option<Vec<Case>> {
    let number = KINDS.iter().position(|(known, _)| *known == name)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number as u64);
    let mut cases = Vec::new();
    match &KINDS[number].1 {
        Plain(make) => cases.extend((0..shapes).map(|index| make(name, index, &mut rng))),
        Fused(make) => {
            // A layer of its own has every activation, a layer with one fused into it those that fit.
            let alone = name == "activation";
            let fits = |f: &Activation| alone || Activation::FUSIBLE.contains(f);
            for activation in Activation::ALL.into_iter().filter(fits) {
                cases.extend((0..shapes).map(|index| make(name, activation, index, &mut rng)));
            }
        }
    }
    Some(cases)
}

/// `dense`, or `dense + relu`.
fn title(kind: &str, activation: Activation) -> String {
    match activation {
        Activation::Identity => kind.to_owned(),
        activation => format!("{kind} + {}", activation.name()),
    }
}

/// One number of a range, its ends first: 1 and the largest size are where indices go wrong.
fn size(rng: &mut ChaCha8Rng, index: usize, [least, most]: [usize; 2]) -> usize {
    match index {
        0 => most,
        1 => least,
        _ => rng.random_range(least..=most),
    }
}

fn dense(kind: &str, activation: Activation, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let [rows, inputs, outputs] = [[1, 65], [1, 9], [1, 7]].map(|range| size(rng, index, range));
    Case::layer(
        kind,
        title(kind, activation),
        &[rows, inputs],
        |plan, parameters| {
            let dense = Dense::new(plan, parameters, kind, [inputs, outputs], 1.0);
            match activation {
                Activation::Identity => dense,
                activation => dense.with_bias(plan, parameters, activation),
            }
        },
    )
}

fn conv2d(kind: &str, activation: Activation, _: usize, rng: &mut ChaCha8Rng) -> Case {
    let geometry = Geometry::random(rng);
    Case::layer(
        kind,
        title(kind, activation),
        &geometry.large(),
        |plan, parameters| {
            let Geometry {
                window,
                channels,
                maps,
                ..
            } = geometry;
            let conv = Conv2d::new(plan, parameters, kind, window, [channels, maps], 1.0);
            conv.with_bias(plan, parameters, activation)
        },
    )
}

fn conv_transpose2d(kind: &str, activation: Activation, _: usize, rng: &mut ChaCha8Rng) -> Case {
    let geometry = Geometry::random(rng);
    Case::layer(
        kind,
        title(kind, activation),
        &geometry.small(),
        |plan, parameters| {
            let Geometry {
                window,
                channels,
                maps,
                ..
            } = geometry;
            let conv = ConvTranspose2d::new(plan, parameters, kind, window, [maps, channels], 1.0);
            conv.with_bias(plan, parameters, activation)
        },
    )
}

fn batch_norm(kind: &str, activation: Activation, index: usize, rng: &mut ChaCha8Rng) -> Case {
    // With two rows x̂ is ±1 whatever x is; with few, a small spread makes for sharp curves.
    let [rows, cols] = [[8, 65], [1, 9]].map(|range| size(rng, index, range));
    Case::layer(
        kind,
        title(kind, activation),
        &[rows, cols],
        |plan, parameters| BatchNorm::new(plan, parameters, kind, cols, activation),
    )
}

fn activation(kind: &str, activation: Activation, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let [rows, cols] = [[1, 65], [1, 9]].map(|range| size(rng, index, range));
    Case::layer(kind, activation.name().to_owned(), &[rows, cols], |_, _| {
        let name = kind.to_owned();
        ActivationLayer { name, activation }
    })
}

/// The first is the common pooling by two, the others are random.
fn pooling(index: usize, rng: &mut ChaCha8Rng) -> Geometry {
    let geometry = Geometry::random_for_pooling(rng);
    let window = Window {
        size: geometry.window.size.map(|side| side.next_multiple_of(2)),
        kernel: [2; 2],
        stride: [2; 2],
        padding: [0; 2],
        dilation: [1; 2],
    };
    match index {
        0 => Geometry { window, ..geometry },
        _ => geometry,
    }
}

fn max_pool2d(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let geometry = pooling(index, rng);
    Case::layer(kind, kind.to_owned(), &geometry.large(), |_, _| {
        let (name, window) = (kind.to_owned(), geometry.window);
        MaxPool2d { name, window }
    })
}

fn avg_pool2d(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let geometry = pooling(index, rng);
    Case::layer(kind, kind.to_owned(), &geometry.large(), |_, _| {
        let (name, window) = (kind.to_owned(), geometry.window);
        AvgPool2d { name, window }
    })
}

fn upsample2d(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let mut sizes = |range| [0; 2].map(|_: usize| size(rng, index, range));
    let (sides, factor, [images, channels]) = (sizes([1, 7]), sizes([1, 3]), sizes([1, 5]));
    let shape = [images, sides[0], sides[1], channels];
    Case::layer(kind, kind.to_owned(), &shape, |_, _| {
        let name = kind.to_owned();
        let enlargement = Enlargement {
            size: sides,
            factor,
        };
        Upsample2d { name, enlargement }
    })
}

fn reshape(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let [images, height, width, channels] = [[1, 5]; 4].map(|range| size(rng, index, range));
    let image = ImageShape {
        height,
        width,
        channels,
    };
    Case::layer(
        kind,
        kind.to_owned(),
        &[images, image.features()],
        |_, _| Reshape::unflatten(image),
    )
}

fn dropout(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let [rows, cols] = [[1, 65], [3, 9]].map(|range| size(rng, index, range));
    Case::layer(kind, kind.to_owned(), &[rows, cols], |_, _| {
        let (name, rate) = (kind.to_owned(), 0.4);
        Dropout { name, rate }
    })
}

/// An activation joined with itself: its gradient is the sum of both parts.
fn join(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let [rows, width] = [[1, 65], [1, 9]].map(|range| size(rng, index, range));
    let shape = [rows, 2 * width];
    objective_case(kind, shape, |e, y, target| {
        let name = kind.to_owned();
        let join = Join { name };
        let (both, saved) = join.forward(e, y, target);
        let (again, outer) = join.forward(e, both, y);
        let d_again = kl_to_normal(e, 1.0, again);
        let [d_both, mine] = join.backward(e, outer, d_again);
        let [yours, of_target] = join.backward(e, saved, d_both);
        of_target.unused();
        mine.plus(e, yours)
    })
}

fn gaussian_sample(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let [rows, width] = [[1, 65], [1, 9]].map(|range| size(rng, index, range));
    Case::layer(kind, kind.to_owned(), &[rows, 2 * width], |_, _| {
        let name = kind.to_owned();
        GaussianSample { name }
    })
}

fn softmax(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let [rows, classes] = [[1, 130], [2, 12]].map(|range| size(rng, index, range));
    let mut inputs = Vec::new();
    let mut emission = Emission::of_gradients(PlanBuilder::new(), 0);
    let labels = emission.plan.persistent("labels", Element::Index, rows);
    inputs.push(Input::Labels(labels, classes as u32));
    gradient_of_y(kind, [rows, classes], 0.0, emission, inputs, |e, y| {
        softmax_cross_entropy(e, y, labels)
    })
}

fn kl(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let [rows, width] = [[1, 130], [1, 12]].map(|range| size(rng, index, range));
    objective_case(kind, [rows, 2 * width], |e, q, _| kl_to_normal(e, 0.7, q))
}

fn l1(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let shape = [[1, 130], [1, 12]].map(|range| size(rng, index, range));
    objective_case(kind, shape, |e, h, _| l1_sparsity(e, 0.7, h))
}

fn sparsity(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    // Near 0 and 1 the divergence is steep; means of several activations are not near them.
    let shape = [[8, 130], [1, 12]].map(|range| size(rng, index, range));
    let emission = Emission::of_gradients(PlanBuilder::new(), 0);
    // Activations in (0, 1).
    gradient_of_y(kind, shape, 0.5, emission, vec![], |e, h| {
        kl_sparsity(e, 0.2, 0.7, h)
    })
}

fn mse(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    loss_case(kind, Loss::MeanSquaredError, index, rng)
}

fn bce(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    loss_case(kind, Loss::BinaryCrossEntropy, index, rng)
}

fn loss_case(kind: &str, loss: Loss, index: usize, rng: &mut ChaCha8Rng) -> Case {
    // Beyond a block the sum has a second pass.
    let cols = size(rng, index, [1, loss::BLOCK + 33]);
    objective_case(kind, [1, cols], |e, y, target| {
        reconstruction(e, kind, loss, Per::Element, y, target)
    })
}

/// An objective of an output y and a target, both of this shape.
fn objective_case(
    kind: &str,
    [rows, cols]: [usize; 2],
    objective: impl FnOnce(&mut Emitter, Matrix, Matrix) -> Gradient,
) -> Case {
    let mut emission = Emission::of_gradients(PlanBuilder::new(), 0);
    let target = emission
        .plan
        .persistent("target", Element::Real, rows * cols);
    let inputs = vec![Input::Reals(target, 0.0..1.0)];
    gradient_of_y(kind, [rows, cols], 0.0, emission, inputs, |e, y| {
        objective(e, y, target.matrix(rows, cols))
    })
}

/// An objective of y, of this shape, with values around `centre`. y is a parameter, so that its gradient is
/// compared.
fn gradient_of_y(
    kind: &str,
    [rows, cols]: [usize; 2],
    centre: f64,
    mut emission: Emission,
    inputs: Vec<Input>,
    objective: impl FnOnce(&mut Emitter, Matrix) -> Gradient,
) -> Case {
    let plan = &mut emission.plan;
    let mut parameters = Parameters::new(plan);
    let (layout, init) = (
        Layout::dense(rows.into(), cols.into()),
        Init::Constant(centre),
    );
    let y = parameters.parameter(plan, "y".to_owned(), rows * cols, layout, init);
    let all = parameters.clone();
    Case::step(kind, kind.to_owned(), emission, &[&all], inputs, |e| {
        let dy = objective(e, y.value.matrix(rows, cols)).matrix();
        let mut at = e.at(kind, Pass::Backward);
        at.learn([y], |e, [gradient]| {
            let (x, y) = (dy.view, gradient);
            e.launch("y", Copy { x, y });
        });
        e.update(&parameters);
    })
}

/// Images in the batch of a model: enough for a batch norm to have a spread.
const ROWS: usize = 12;
/// Classes of a classifier.
const CLASSES: usize = 3;

/// A recipe's model, objectives and all, shrunk to a size where every weight can be moved: fewer
/// channels and narrower layers on small images, with the recipe's own windows, pools and activations.
///
/// Errors if no small image fits the recipe's convolutions.
pub fn model_case(recipe: &Recipe) -> Result<Case, ModelError> {
    let (mut emission, image, model) = shrunk(recipe)?;
    let features = image.features();
    let plan = &mut emission.plan;
    let [clean, noisy] = ["clean", "noisy"].map(|name| {
        plan.persistent(name, Element::Real, ROWS * features)
            .matrix(ROWS, features)
    });
    let labels = model.reads_labels();
    let labels = labels.then(|| plan.persistent("labels", Element::Index, ROWS));
    let images = [clean, noisy].map(|matrix| Input::Reals(matrix.view, 0.0..1.0));
    let mut inputs = images.to_vec();
    inputs.extend(labels.map(|view| Input::Labels(view, CLASSES as u32)));
    let batch = Batch {
        clean,
        noisy,
        labels,
    };
    Ok(Case::step(
        &recipe.name,
        format!("model of {}", recipe.name),
        emission,
        &model.parameters(),
        inputs,
        |e| model.train(e, &batch),
    ))
}

/// The smallest square image that fits the recipe's layers, which are made narrow.
fn shrunk(recipe: &Recipe) -> Result<(Emission, ImageShape, Box<dyn Model>), ModelError> {
    const SIDES: std::ops::RangeInclusive<usize> = 5..=256;
    let channels = recipe.data.image().map_or(3, |image| image.channels);
    let narrow = |width: usize| (width.isqrt() / 2).clamp(3, 9);
    let settings = recipe.model.narrowed(narrow);
    let fit = |side: usize| {
        let image = ImageShape {
            height: side,
            width: side,
            channels,
        };
        let mut emission = Emission::of_gradients(PlanBuilder::new(), recipe.train.seed);
        let classes = CLASSES;
        let model = settings.build(&mut emission.plan, Task { image, classes }, &[])?;
        Ok((emission, image, model))
    };
    let mut fitting = SIDES.map(fit);
    let first = fitting.next().expect("not empty");
    first.or_else(|error| fitting.find(Result::is_ok).unwrap_or(Err(error)))
}
