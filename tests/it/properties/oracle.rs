//! Textbook definitions, by plain loops. Nothing here comes from the kernels.

use diabolo::gradcheck::Geometry;
use diabolo::kernels::adam::Hyperparameters;
use diabolo::kernels::loss::Loss;
use diabolo::kernels::upsample::Enlargement;
use diabolo::kernels::{Activation, Window};

use super::bench::SINGLE;
use super::exact::{Exact, ONE, Sum, exact, rounded, sum};

/// y = f(x)
pub fn activate(f: Activation, x: Exact) -> Exact {
    let negative = x.value < 0.0;
    match f {
        Activation::Relu if negative => Exact { value: 0.0, ..x },
        Activation::LeakyRelu if negative => rounded(0.01) * x,
        Activation::Elu if negative => x.exp_m1(),
        Activation::Identity | Activation::Relu | Activation::LeakyRelu | Activation::Elu => x,
        Activation::Sigmoid => ONE / (ONE + (-x).exp()),
        Activation::Tanh => {
            // Devices have it from e^(−2|x|) − 1.
            let e = (if negative { x + x } else { -(x + x) }).exp_m1();
            let Exact { slack, .. } = e / (exact(2.0) + e);
            let value = x.value.tanh();
            Exact { value, slack }
        }
        Activation::Softplus => x.exp().ln_1p(),
        Activation::Gelu | Activation::Silu | Activation::Mish => panic!("no kernel fuses {f:?}"),
    }
}

/// f′(x). Devices have it from y = f(x): its bound is that of y times |df′/dy|, and some roundings
/// of what f′ is made of.
pub fn slope(f: Activation, x: Exact) -> Exact {
    let e = x.value.exp();
    let step = |below: f64| if x.value > 0.0 { 1.0 } else { below };
    let (value, per_y, own) = match f {
        Activation::Identity => (1.0, 0.0, 0.0),
        Activation::Relu => (step(0.0), 0.0, 0.0),
        Activation::LeakyRelu => (step(0.01), 0.0, 0.01),
        Activation::Elu => (step(e), 1.0, 1.0),
        Activation::Sigmoid => (e / (1.0 + e).powi(2), 1.0, 2.0),
        Activation::Tanh => (x.value.cosh().powi(-2), 2.0, 2.0),
        Activation::Softplus => (e / (1.0 + e), 1.0, 4.0),
        Activation::Gelu | Activation::Silu | Activation::Mish => panic!("no kernel fuses {f:?}"),
    };
    let kinked = matches!(f, Activation::Relu | Activation::LeakyRelu);
    let slack = if kinked && x.slack > 0.0 && x.value.abs() <= x.slack * SINGLE {
        // Rounding may take x across the kink: either side's slope will do.
        1.0 / SINGLE
    } else {
        per_y * activate(f, x).slack + own
    };
    Exact { value, slack }
}

/// op(a) · op(b): `a(i, p)` and `b(p, j)` are elements.
pub fn product(
    [m, k, n]: [usize; 3],
    a: impl Fn(usize, usize) -> f64,
    b: impl Fn(usize, usize) -> f64,
) -> Vec<Exact> {
    let element = |i, j| sum((0..k).map(|p| exact(a(i, p)) * exact(b(p, j))));
    (0..m * n).map(|at| element(at / n, at % n)).collect()
}

/// f(y + bias), row by row.
pub fn epilogue(y: &[Exact], bias: Option<&[f64]>, f: Activation) -> Vec<Exact> {
    let bias_of = |i: usize| bias.map(|bias| exact(bias[i % bias.len()]));
    let biased = |(i, &y): (usize, &Exact)| bias_of(i).map_or(y, |bias| y + bias);
    y.iter()
        .enumerate()
        .map(biased)
        .map(|y| activate(f, y))
        .collect()
}

/// Σ over rows.
pub fn column_sum(cols: usize, x: &[f64]) -> Vec<Exact> {
    let column = |col: usize| sum(x.iter().skip(col).step_by(cols).map(|&x| exact(x)));
    (0..cols).map(column).collect()
}

/// One tap of a window at one place, over one pixel: rows of the smaller and the larger side.
pub struct Sight {
    pub place: usize,
    pub tap: usize,
    pub pixel: usize,
}

/// How often a window fits: the last place is the last whose last tap is still over the padded image.
pub fn places(window: &Window) -> [usize; 2] {
    [0, 1].map(|i| {
        let reach = (window.kernel[i] - 1) * window.dilation[i];
        let last = window.size[i] + 2 * window.padding[i] - 1;
        (0..)
            .take_while(|o| o * window.stride[i] + reach <= last)
            .count()
    })
}

/// All that all windows see, place by place and tap by tap; padding is not seen.
pub fn sights(geometry: &Geometry) -> Vec<Sight> {
    let window = &geometry.window;
    let [rows, cols] = places(window);
    let under = |i: usize, place: usize, tap: usize| {
        let at = place * window.stride[i] + tap * window.dilation[i];
        let at = at as isize - window.padding[i] as isize;
        (0..window.size[i] as isize)
            .contains(&at)
            .then_some(at as usize)
    };
    let mut all = Vec::new();
    for place in 0..geometry.images * rows * cols {
        let (image, row, col) = (place / cols / rows, place / cols % rows, place % cols);
        for tap in 0..window.kernel[0] * window.kernel[1] {
            let y = under(0, row, tap / window.kernel[1]);
            let x = under(1, col, tap % window.kernel[1]);
            if let (Some(y), Some(x)) = (y, x) {
                let pixel = (image * window.size[0] + y) * window.size[1] + x;
                all.push(Sight { place, tap, pixel });
            }
        }
    }
    all
}

fn totals(sums: Vec<Sum>) -> Vec<Exact> {
    sums.into_iter().map(Sum::total).collect()
}

/// Calls `visit(x, weight, y)` with the indices of every product that a convolution sums.
fn products(geometry: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    let (channels, maps) = (geometry.channels, geometry.maps);
    for Sight { place, tap, pixel } in sights(geometry) {
        for c in 0..channels {
            for m in 0..maps {
                let weight = (tap * channels + c) * maps + m;
                visit(pixel * channels + c, weight, place * maps + m);
            }
        }
    }
}

/// y\[o, m\] = Σ x\[pixel, c\] · w\[tap, c, m\]
pub fn convolution(geometry: &Geometry, x: &[f64], weight: &[f64]) -> Vec<Exact> {
    let mut y = vec![Sum::default(); geometry.rows()[1] * geometry.maps];
    products(geometry, |i, w, o| y[o].add(exact(x[i]) * exact(weight[w])));
    totals(y)
}

/// Its derivative by x.
pub fn data_gradient(geometry: &Geometry, dy: &[f64], weight: &[f64]) -> Vec<Exact> {
    let mut dx = vec![Sum::default(); geometry.rows()[0] * geometry.channels];
    products(geometry, |i, w, o| {
        dx[i].add(exact(dy[o]) * exact(weight[w]))
    });
    totals(dx)
}

/// Its derivative by the weight.
pub fn weight_gradient(geometry: &Geometry, x: &[f64], dy: &[f64]) -> Vec<Exact> {
    let taps = geometry.window.kernel[0] * geometry.window.kernel[1];
    let mut dw = vec![Sum::default(); taps * geometry.channels * geometry.maps];
    products(geometry, |i, w, o| dw[w].add(exact(x[i]) * exact(dy[o])));
    totals(dw)
}

/// Maxima and the first tap that sees each.
pub fn max_pool(geometry: &Geometry, x: &[f64]) -> (Vec<Exact>, Vec<u32>) {
    let channels = geometry.channels;
    let mut best = vec![(f64::NEG_INFINITY, 0); geometry.rows()[1] * channels];
    for Sight { place, tap, pixel } in sights(geometry) {
        for c in 0..channels {
            let best = &mut best[place * channels + c];
            if x[pixel * channels + c] > best.0 {
                *best = (x[pixel * channels + c], tap as u32);
            }
        }
    }
    best.into_iter().map(|(y, tap)| (exact(y), tap)).unzip()
}

/// dx\[pixel\] = Σ dy\[o\] over the windows whose maximum it was.
pub fn max_pool_backward(geometry: &Geometry, argmax: &[u32], dy: &[f64]) -> Vec<Exact> {
    let channels = geometry.channels;
    let mut dx = vec![Sum::default(); geometry.rows()[0] * channels];
    for Sight { place, tap, pixel } in sights(geometry) {
        for c in 0..channels {
            let o = place * channels + c;
            if argmax[o] as usize == tap {
                dx[pixel * channels + c].add(exact(dy[o]));
            }
        }
    }
    totals(dx)
}

/// Means, padding counting as zeros; backwards, each pixel's share of the means it is in.
pub fn average(geometry: &Geometry, values: &[f64], backward: bool) -> Vec<Exact> {
    let (channels, kernel) = (geometry.channels, geometry.window.kernel);
    let [large, small] = geometry.rows();
    let mut sums = vec![Sum::default(); if backward { large } else { small } * channels];
    for Sight { place, pixel, .. } in sights(geometry) {
        let (from, to) = if backward {
            (place, pixel)
        } else {
            (pixel, place)
        };
        for c in 0..channels {
            sums[to * channels + c].add(exact(values[from * channels + c]));
        }
    }
    let taps = exact((kernel[0] * kernel[1]) as f64);
    totals(sums).into_iter().map(|sum| sum / taps).collect()
}

/// The pixel of the smaller side behind every pixel of the larger.
pub fn sources(images: usize, enlargement: &Enlargement) -> Vec<usize> {
    let ([height, width], [down, across]) = (enlargement.size, enlargement.factor);
    let mut sources = Vec::new();
    for image in 0..images {
        for y in 0..height * down {
            for x in 0..width * across {
                sources.push((image * height + y / down) * width + x / across);
            }
        }
    }
    sources
}

/// One element's loss.
pub fn loss(loss: Loss, y: f64, target: f64) -> Exact {
    let (logit, t) = (exact(y), exact(target));
    match loss {
        Loss::MeanSquaredError => (logit - t) * (logit - t),
        Loss::BinaryCrossEntropy => {
            // −t ln σ(y) − (1 − t) ln σ(−y), and −ln σ(y) = softplus(−y).
            let softplus = |x| activate(Activation::Softplus, x);
            let term = t * softplus(-logit) + (ONE - t) * softplus(logit);
            // Devices have it from max(y, 0) − y·t, which rounds numbers as large as y.
            let slack = term.slack + 2.0 * y.abs();
            Exact { slack, ..term }
        }
    }
}

/// Its derivative by y.
pub fn loss_slope(loss: Loss, y: f64, target: f64) -> Exact {
    let (y, t) = (exact(y), exact(target));
    match loss {
        Loss::MeanSquaredError => exact(2.0) * (y - t),
        Loss::BinaryCrossEntropy => activate(Activation::Sigmoid, y) - t,
    }
}

/// 1 − βᵗ
pub fn bias_correction(beta: f64, t: usize) -> f64 {
    1.0 - vec![beta; t].iter().product::<f64>()
}

/// A parameter, m and v after Adam's steps (Kingma and Ba, algorithm 1).
pub fn adam(hyper: &Hyperparameters, alpha: f64, start: f64, gradients: &[f64]) -> [Exact; 3] {
    let Hyperparameters {
        beta1,
        beta2,
        epsilon,
        ..
    } = *hyper;
    let [mut p, mut m, mut v] = [start, 0.0, 0.0].map(exact);
    for (t, &g) in (1..).zip(gradients) {
        let g = exact(g);
        m = rounded(beta1) * m + rounded(1.0 - beta1) * g;
        v = rounded(beta2) * v + rounded(1.0 - beta2) * g * g;
        let m_hat = m / rounded(bias_correction(beta1, t));
        let v_hat = v / rounded(bias_correction(beta2, t));
        p = p - rounded(alpha) * m_hat / (v_hat.sqrt() + rounded(epsilon));
    }
    [p, m, v]
}
