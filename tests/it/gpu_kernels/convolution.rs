//! Convolution, pooling and upsampling over random geometries.

use diabolo::kernels::convolution::{
    Convolve, DataGradient, WeightGradient, definition, weight_blocks,
};
use diabolo::kernels::pool::{self, AveragePool, AveragePoolBackward, MaxPool, MaxPoolBackward};
use diabolo::kernels::upsample::{self, Enlargement, Upsample, UpsampleBackward};
use diabolo::kernels::{Activation, Window, activation};

use super::harness::{Case, gpu};
use super::{ACTIVATIONS, EPSILON, through};
use crate::common::geometry::{Geometry, geometries};

/// Geometries drawn at random, and a few larger ones that fill more than a tile.
fn cases() -> Vec<Geometry> {
    let large = |size, kernel: usize, stride: usize, channels, maps| Geometry {
        images: 3,
        window: Window {
            size,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
        },
        channels,
        maps,
    };
    let mut cases = geometries(60);
    cases.push(large([28, 28], 3, 2, 1, 32));
    cases.push(large([14, 14], 3, 2, 32, 65));
    cases.push(large([31, 27], 5, 1, 3, 129));
    cases.push(large([31, 27], 3, 3, 33, 7));
    cases
}

/// Each product's error is √K·ε times the sum of its terms' absolute values, four times over; the
/// sums of absolute values are what the same kernel makes of absolute values.
fn bound(terms: usize, magnitude: f64) -> f64 {
    (4.0 * (terms as f64).sqrt() + 2.0) * EPSILON * magnitude
}

/// One image of some.
fn part<T>(values: &[T], images: usize, image: usize) -> &[T] {
    let len = values.len() / images;
    &values[image * len..][..len]
}

/// Every element of some images `[height, width, channels]`, by its image and its place.
fn elements<T>(
    [height, width]: [usize; 2],
    channels: usize,
    images: usize,
    of: impl Fn(usize, [usize; 3]) -> T,
) -> Vec<T> {
    let of = |index: usize| {
        let (pixel, c) = (index / channels, index % channels);
        let (row, w) = (pixel / width, pixel % width);
        of(row / height, [row % height, w, c])
    };
    (0..images * height * width * channels).map(of).collect()
}

pub fn convolution_forward_and_both_gradients() {
    let Some(adapter) = gpu() else { return };
    for (index, case) in cases().into_iter().enumerate() {
        let Geometry {
            window,
            channels,
            maps,
            ..
        } = case;
        let [large, small] = case.rows();
        let depth = window.taps() * channels;
        let activation = ACTIVATIONS[index % ACTIVATIONS.len()];
        let with_bias = index % 2 == 0;

        let mut test = Case::new(index);
        let bias = with_bias.then(|| test.real("bias", maps));
        let y = test.output("y", small * maps).matrix(small, maps);
        let convolve = Convolve {
            window,
            x: test.real("x", large * channels).matrix(large, channels),
            weight: test.real("weight", depth * maps).matrix(depth, maps),
            bias,
            activation,
            y,
        };
        let linear = Convolve {
            activation: Activation::Identity,
            ..convolve.clone()
        };
        let magnitudes = test.magnitudes(linear, y.view);
        let (x, weight) = (convolve.x.view, convolve.weight.view);
        let ready = test.finish(convolve);
        ready.compare(&adapter, |_, i, _| {
            through(activation, magnitudes[i], bound(depth, magnitudes[i]))
        });
        let given = [x, weight].map(|view| ready.given(view));
        let bias = bias.map(|bias| ready.given(bias));
        let values = elements(window.map(), maps, case.images, |image, [oh, ow, m]| {
            let x = part(&given[0], case.images, image);
            let at = [oh, ow, m];
            let y = definition::forward(&window, x, &given[1], [channels, maps], at);
            let bias = bias.as_ref().map_or(0.0, |bias| bias[m]);
            activation::definition::forward(activation, y + bias)
        });
        ready.defined(y.view, &values);

        let mut test = Case::new(index);
        let bias = with_bias.then(|| test.real("bias", channels));
        let dx = test.output("dx", large * channels).matrix(large, channels);
        let gradient = DataGradient {
            window,
            dy: test.real("dy", small * maps).matrix(small, maps),
            weight: test.real("weight", depth * maps).matrix(depth, maps),
            bias,
            activation,
            dx,
        };
        let linear = DataGradient {
            activation: Activation::Identity,
            ..gradient.clone()
        };
        let magnitudes = test.magnitudes(linear, dx.view);
        let terms = window.taps() * maps;
        let (dy, weight) = (gradient.dy.view, gradient.weight.view);
        let ready = test.finish(gradient);
        ready.compare(&adapter, |_, i, _| {
            through(activation, magnitudes[i], bound(terms, magnitudes[i]))
        });
        let given = [dy, weight].map(|view| ready.given(view));
        let bias = bias.map(|bias| ready.given(bias));
        let gradients = elements(window.size, channels, case.images, |image, [h, w, c]| {
            let dy = part(&given[0], case.images, image);
            let at = [h, w, c];
            let dx = definition::data_gradient(&window, dy, &given[1], [channels, maps], at);
            let bias = bias.as_ref().map_or(0.0, |bias| bias[c]);
            activation::definition::forward(activation, dx + bias)
        });
        ready.defined(dx.view, &gradients);

        let mut test = Case::new(index);
        let blocks = weight_blocks(small, depth * maps).max(1 + index % 3);
        let partial = test.output("partial", blocks * depth * maps);
        let gradient = WeightGradient {
            window,
            x: test.real("x", large * channels).matrix(large, channels),
            dy: test.real("dy", small * maps).matrix(small, maps),
            partial: partial.matrix(blocks, depth * maps),
        };
        let magnitudes = test.magnitudes(gradient.clone(), partial);
        let terms = small.div_ceil(blocks);
        let (x, dy) = (gradient.x.view, gradient.dy.view);
        let ready = test.finish(gradient);
        ready.compare(&adapter, |_, i, _| bound(terms, magnitudes[i]));
        let [x, dy] = [x, dy].map(|view| ready.given(view));
        let elements = (0..blocks * depth * maps).map(|index| {
            let (block, at) = (index / (depth * maps), index % (depth * maps));
            let (tap, c, m) = (at / maps / channels, at / maps % channels, at % maps);
            let at = [tap / window.kernel[1], tap % window.kernel[1], c, m];
            let rows = small.min(block * terms)..small.min((block + 1) * terms);
            definition::weight_gradient(&window, &x, &dy, rows, [channels, maps], at)
        });
        ready.defined(partial, &elements.collect::<Vec<_>>());
    }
}

pub fn pooling_forward_and_backward() {
    let Some(adapter) = gpu() else { return };
    let mut tested = 0;
    for (index, case) in cases().into_iter().enumerate() {
        let Ok(window) = case.window.checked_for_pooling() else {
            continue;
        };
        tested += 1;
        let c = case.channels;
        let [large, small] = case.rows();
        let taps = window.taps() as f64;
        let sum = |_: &str, _: usize, _: f64| (4.0 * taps.sqrt() + 3.0) * EPSILON * taps;

        let mut test = Case::new(index);
        let pool = MaxPool {
            window,
            x: test.real("x", large * c).matrix(large, c),
            y: test.output("y", small * c).matrix(small, c),
            argmax: test.index("argmax", vec![0; small * c]),
        };
        if index % 2 == 0 {
            // Many equal maxima: the first tap wins on every device.
            let levels = (0..large * c).map(|i| (i * 7919 % 5 / 2) as f32);
            test.reals.push((pool.x.view, levels.collect()));
        }
        let (x, y, argmax) = (pool.x.view, pool.y.view, pool.argmax);
        let ready = test.finish(pool);
        // A maximum is one of its numbers, to the bit.
        ready.compare(&adapter, |_, _, _| 0.0);
        let x = ready.given(x);
        let maxima = elements(window.map(), c, case.images, |image, at| {
            pool::definition::maximum(&window, part(&x, case.images, image), c, at)
        });
        let (values, taps): (Vec<f64>, Vec<u32>) = maxima
            .into_iter()
            .map(|(value, tap)| (value, tap as u32))
            .unzip();
        ready.defined(y, &values);
        ready.defined_indices(argmax, &taps);

        let mut test = Case::new(index);
        let argmax = (0..small * c).map(|i| (i * 7 % window.taps()) as u32);
        let argmax: Vec<u32> = argmax.collect();
        let backward = MaxPoolBackward {
            window,
            argmax: test.index("argmax", argmax.clone()),
            dy: test.real("dy", small * c).matrix(small, c),
            dx: test.output("dx", large * c).matrix(large, c),
        };
        let (dy, dx) = (backward.dy.view, backward.dx.view);
        let ready = test.finish(backward);
        ready.compare(&adapter, sum);
        let dy = ready.given(dy);
        let gradients = elements(window.size, c, case.images, |image, at| {
            let argmax = part(&argmax, case.images, image);
            let dy = part(&dy, case.images, image);
            pool::definition::maximum_backward(&window, argmax, dy, c, at)
        });
        ready.defined(dx, &gradients);

        let mut test = Case::new(index);
        let pool = AveragePool {
            window,
            x: test.real("x", large * c).matrix(large, c),
            y: test.output("y", small * c).matrix(small, c),
        };
        let (x, y) = (pool.x.view, pool.y.view);
        let ready = test.finish(pool);
        ready.compare(&adapter, sum);
        let x = ready.given(x);
        let means = elements(window.map(), c, case.images, |image, at| {
            pool::definition::average(&window, part(&x, case.images, image), c, at)
        });
        ready.defined(y, &means);

        let mut test = Case::new(index);
        let backward = AveragePoolBackward {
            window,
            dy: test.real("dy", small * c).matrix(small, c),
            dx: test.output("dx", large * c).matrix(large, c),
        };
        let (dy, dx) = (backward.dy.view, backward.dx.view);
        let ready = test.finish(backward);
        ready.compare(&adapter, sum);
        let dy = ready.given(dy);
        let gradients = elements(window.size, c, case.images, |image, at| {
            pool::definition::average_backward(&window, part(&dy, case.images, image), c, at)
        });
        ready.defined(dx, &gradients);
    }
    assert!(tested >= 30, "only {tested} windows are legal for pooling");
}

pub fn upsampling_forward_and_backward() {
    let Some(adapter) = gpu() else { return };
    for (index, (size, factor, c)) in [
        ([1, 1], [1, 1], 1),
        ([3, 5], [2, 2], 17),
        ([31, 1], [1, 3], 4),
        ([7, 7], [2, 3], 33),
        ([13, 9], [4, 1], 129),
    ]
    .into_iter()
    .enumerate()
    {
        let enlargement = Enlargement { size, factor };
        let [height, width] = enlargement.enlarged();
        let (small, large) = (3 * size[0] * size[1], 3 * height * width);
        let mut test = Case::new(index);
        let upsample = Upsample {
            enlargement,
            x: test.real("x", small * c).matrix(small, c),
            y: test.output("y", large * c).matrix(large, c),
        };
        let (x, y) = (upsample.x.view, upsample.y.view);
        let ready = test.finish(upsample);
        ready.compare(&adapter, |_, _, _| 0.0);
        let x = ready.given(x);
        let values = elements([height, width], c, 3, |image, at| {
            upsample::definition::forward(part(&x, 3, image), [size[1], c], factor, at)
        });
        ready.defined(y, &values);

        let mut test = Case::new(index);
        let backward = UpsampleBackward {
            enlargement,
            dy: test.real("dy", large * c).matrix(large, c),
            dx: test.output("dx", small * c).matrix(small, c),
        };
        let terms = (factor[0] * factor[1]) as f64;
        let (dy, dx) = (backward.dy.view, backward.dx.view);
        let ready = test.finish(backward);
        ready.compare(&adapter, |_, _, _| 4.0 * terms.sqrt() * EPSILON * terms);
        let dy = ready.given(dy);
        let gradients = elements(size, c, 3, |image, at| {
            upsample::definition::backward(part(&dy, 3, image), [size[1], c], factor, at)
        });
        ready.defined(dx, &gradients);
    }
}
