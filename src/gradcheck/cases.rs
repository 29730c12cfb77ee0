//! Every layer, every loss and every model that can be checked, in random shapes.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::buffer::Element;
use crate::image::ImageShape;
use crate::kernels::loss::{self, Loss};
use crate::kernels::upsample::Enlargement;
use crate::kernels::{Activation, Window};
use crate::layers::{
    ActivationLayer, AvgPool2d, BatchNorm, Conv2d, ConvTranspose2d, Dense, MaxPool2d, Reshape,
    Upsample2d,
};
use crate::models::{Autoencoder, ModelError, Shape};
use crate::plan::PlanBuilder;
use crate::recipe::Recipe;
use crate::train::{note_loss, train_step};

use super::case::{Quantity, loss_buffers, parameters};
use super::{Case, Geometry};

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
    ("mse", Plain(mse)),
    ("bce", Plain(bce)),
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
            for activation in Activation::ALL {
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
                Activation::Identity => Box::new(dense),
                activation => Box::new(dense.with_bias(plan, parameters, activation)),
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
            Box::new(conv.with_bias(plan, parameters, activation))
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
            Box::new(conv.with_bias(plan, parameters, activation))
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
        |plan, parameters| Box::new(BatchNorm::new(plan, parameters, kind, cols, activation)),
    )
}

fn activation(kind: &str, activation: Activation, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let [rows, cols] = [[1, 65], [1, 9]].map(|range| size(rng, index, range));
    Case::layer(kind, activation.name().to_owned(), &[rows, cols], |_, _| {
        let name = kind.to_owned();
        Box::new(ActivationLayer { name, activation })
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
        Box::new(MaxPool2d { name, window })
    })
}

fn avg_pool2d(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    let geometry = pooling(index, rng);
    Case::layer(kind, kind.to_owned(), &geometry.large(), |_, _| {
        let (name, window) = (kind.to_owned(), geometry.window);
        Box::new(AvgPool2d { name, window })
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
        Box::new(Upsample2d { name, enlargement })
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
        |_, _| Box::new(Reshape::unflatten(image)),
    )
}

fn mse(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    loss_case(kind, Loss::MeanSquaredError, index, rng)
}

fn bce(kind: &str, index: usize, rng: &mut ChaCha8Rng) -> Case {
    loss_case(kind, Loss::BinaryCrossEntropy, index, rng)
}

fn loss_case(kind: &str, loss: Loss, index: usize, rng: &mut ChaCha8Rng) -> Case {
    // Beyond a block the sum has a second pass.
    let len = size(rng, index, [1, loss::BLOCK + 33]);
    let mut plan = PlanBuilder::new();
    let (clock, losses) = loss_buffers(&mut plan);
    let [y, target, dy] =
        ["y", "target", "dy"].map(|name| plan.persistent(name, Element::Real, len));
    let forward = plan.begin("forward");
    note_loss(&mut plan, loss, [y, target], clock, losses);
    let backward = plan.begin("backward");
    plan.launch(
        "loss gradient",
        loss::Gradient {
            y,
            target,
            dy,
            loss,
        },
    );
    Case {
        layer: kind.to_owned(),
        kind: kind.to_owned(),
        plan,
        forward,
        backward,
        inputs: vec![(y, -4.0..4.0), (target, 0.0..1.0)],
        output: losses,
        dy: None,
        quantities: vec![Quantity {
            name: "y".to_owned(),
            shape: vec![len],
            values: y,
            gradient: dy,
        }],
    }
}

/// Images in the batch of a model: enough for a batch norm to have a spread.
const ROWS: usize = 12;

/// A recipe's model, loss and all, shrunk to a size where every weight can be moved: fewer channels
/// and narrower layers on small images, with the recipe's own windows, pools and activations.
///
/// Errors if no small image fits the recipe's convolutions.
pub fn model_case(recipe: &Recipe) -> Result<Case, ModelError> {
    let (shape, mut plan, model) = shrunk(recipe)?;
    let features = shape.image.features();
    let (clock, losses) = loss_buffers(&mut plan);
    let [clean, noisy] = ["clean", "noisy"].map(|name| {
        plan.persistent(name, Element::Real, ROWS * features)
            .matrix(ROWS, features)
    });
    let step = plan.begin("step");
    train_step(&mut plan, &model, clean, noisy, clock, losses);
    let (quantities, mut inputs) = parameters(&model.parameters);
    for matrix in [clean, noisy] {
        inputs.push((matrix.view, 0.0..1.0));
    }
    Ok(Case {
        layer: format!("model of {}", recipe.name),
        kind: recipe.name.clone(),
        plan,
        forward: step,
        backward: step,
        inputs,
        output: losses,
        dy: None,
        quantities,
    })
}

/// The smallest square image that fits the recipe's layers, which are made narrow.
fn shrunk(recipe: &Recipe) -> Result<(Shape, PlanBuilder, Autoencoder), ModelError> {
    const SIDES: std::ops::RangeInclusive<usize> = 5..=256;
    let channels = recipe.data.image().map_or(3, |image| image.channels);
    let narrow = |width: usize| (width.isqrt() / 2).clamp(3, 9);
    let fit = |side: usize| {
        let image = ImageShape {
            height: side,
            width: side,
            channels,
        };
        let mut shape = recipe.model.shape(image);
        shape
            .hidden
            .iter_mut()
            .for_each(|width| *width = narrow(*width));
        shape.code = narrow(shape.code);
        for stage in &mut shape.convolutions {
            stage.channels = narrow(stage.channels);
        }
        let mut plan = PlanBuilder::new();
        let model = Autoencoder::new(&mut plan, &shape)?;
        Ok((shape, plan, model))
    };
    let mut fitting = SIDES.map(fit);
    let first = fitting.next().expect("not empty");
    first.or_else(|error| fitting.find(Result::is_ok).unwrap_or(Err(error)))
}
