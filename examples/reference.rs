//! A whole denoising autoencoder in one file of plain loops: forward, backward, batch norm and Adam, in
//! f64, without an import. It is slow, and meant to be read; the engine is held to its numbers, step for
//! step, by `tests/it/reference.rs`.
//!
//! ```text
//! hidden layer   z = x W,  x̂ = (z − mean) / √(var + ε),  y = max(0, γ x̂ + β)
//! last layer     z = x W + b,  y = 1 / (1 + e⁻ᶻ)
//! loss           the mean of (y − clean)² over all values of a batch; x of the first layer is noisy
//! ```
//! Every matrix is row-major: row r of an x `[rows, cols]` is `x[r * cols..][..cols]`, one image.
//!
//! ```sh
//! cargo run --release --example reference
//! ```

/// Added to variances: PyTorch's default.
const EPSILON: f64 = 1e-5;
/// How much of the running statistics a batch replaces.
const MOMENTUM: f64 = 0.1;

/// Numbers that are learnt, and what Adam remembers of each.
pub struct Parameter {
    pub value: Vec<f64>,
    pub gradient: Vec<f64>,
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl Parameter {
    pub fn new(value: Vec<f64>) -> Parameter {
        let zeros = vec![0.0; value.len()];
        Parameter {
            gradient: zeros.clone(),
            mean: zeros.clone(),
            variance: zeros,
            value,
        }
    }

    /// Adam (Kingma and Ba, 2015); the first step is 1.
    fn update(&mut self, step: i32, rate: f64) {
        for i in 0..self.value.len() {
            let g = self.gradient[i];
            self.mean[i] = 0.9 * self.mean[i] + 0.1 * g;
            self.variance[i] = 0.999 * self.variance[i] + 0.001 * g * g;
            let mean = self.mean[i] / (1.0 - 0.9f64.powi(step));
            let variance = self.variance[i] / (1.0 - 0.999f64.powi(step));
            self.value[i] -= rate * mean / (variance.sqrt() + 1e-8);
        }
    }
}

/// A dense layer with batch norm and ReLU.
pub struct Hidden {
    pub inputs: usize,
    pub outputs: usize,
    /// W `[inputs, outputs]`
    pub weight: Parameter,
    pub gamma: Parameter,
    pub beta: Parameter,
    pub running_mean: Vec<f64>,
    pub running_variance: Vec<f64>,
}

/// What a hidden layer's backward needs of its forward.
struct Saved {
    x: Vec<f64>,
    normalised: Vec<f64>,
    inv_std: Vec<f64>,
    y: Vec<f64>,
}

/// The last layer: dense, with a bias and a sigmoid.
pub struct Last {
    pub inputs: usize,
    pub outputs: usize,
    /// W `[inputs, outputs]`
    pub weight: Parameter,
    pub bias: Parameter,
}

/// `x [rows, inputs] · weight [inputs, outputs]`
fn multiply(x: &[f64], weight: &[f64], rows: usize, inputs: usize, outputs: usize) -> Vec<f64> {
    let mut y = vec![0.0; rows * outputs];
    for r in 0..rows {
        for o in 0..outputs {
            for i in 0..inputs {
                y[r * outputs + o] += x[r * inputs + i] * weight[i * outputs + o];
            }
        }
    }
    y
}

/// The gradients of [`multiply`]: `d_weight = xᵀ · dy`, written, and `dx = dy · weightᵀ`, returned.
fn multiply_backward(
    x: &[f64],
    weight: &mut Parameter,
    dy: &[f64],
    rows: usize,
    inputs: usize,
    outputs: usize,
) -> Vec<f64> {
    for i in 0..inputs {
        for o in 0..outputs {
            let mut sum = 0.0;
            for r in 0..rows {
                sum += x[r * inputs + i] * dy[r * outputs + o];
            }
            weight.gradient[i * outputs + o] = sum;
        }
    }
    let mut dx = vec![0.0; rows * inputs];
    for r in 0..rows {
        for i in 0..inputs {
            for o in 0..outputs {
                dx[r * inputs + i] += dy[r * outputs + o] * weight.value[i * outputs + o];
            }
        }
    }
    dx
}

impl Hidden {
    fn forward(&mut self, x: Vec<f64>, rows: usize) -> Saved {
        let n = self.outputs;
        let mut normalised = multiply(&x, &self.weight.value, rows, self.inputs, n);
        let mut inv_std = vec![0.0; n];
        let mut y = vec![0.0; rows * n];
        for c in 0..n {
            let mut mean = 0.0;
            for r in 0..rows {
                mean += normalised[r * n + c];
            }
            mean /= rows as f64;
            let mut squares = 0.0;
            for r in 0..rows {
                squares += (normalised[r * n + c] - mean) * (normalised[r * n + c] - mean);
            }
            inv_std[c] = 1.0 / (squares / rows as f64 + EPSILON).sqrt();
            for r in 0..rows {
                normalised[r * n + c] = (normalised[r * n + c] - mean) * inv_std[c];
                let z = self.gamma.value[c] * normalised[r * n + c] + self.beta.value[c];
                y[r * n + c] = if z > 0.0 { z } else { 0.0 };
            }
            // In evaluation they stand in for the batch's; their variance is the unbiased one.
            let unbiased = squares / (rows - 1) as f64;
            self.running_mean[c] += MOMENTUM * (mean - self.running_mean[c]);
            self.running_variance[c] += MOMENTUM * (unbiased - self.running_variance[c]);
        }
        Saved {
            x,
            normalised,
            inv_std,
            y,
        }
    }

    fn backward(&mut self, saved: &Saved, mut dy: Vec<f64>, rows: usize) -> Vec<f64> {
        let n = self.outputs;
        for c in 0..n {
            let (mut d_beta, mut d_gamma) = (0.0, 0.0);
            for r in 0..rows {
                // ReLU: where it gave 0, nothing comes back.
                if saved.y[r * n + c] == 0.0 {
                    dy[r * n + c] = 0.0;
                }
                d_beta += dy[r * n + c];
                d_gamma += dy[r * n + c] * saved.normalised[r * n + c];
            }
            self.beta.gradient[c] = d_beta;
            self.gamma.gradient[c] = d_gamma;
            // Each z moves the batch's mean and variance too.
            for r in 0..rows {
                let through_mean = d_beta / rows as f64;
                let through_variance = saved.normalised[r * n + c] * d_gamma / rows as f64;
                let scale = self.gamma.value[c] * saved.inv_std[c];
                dy[r * n + c] = scale * (dy[r * n + c] - through_mean - through_variance);
            }
        }
        multiply_backward(&saved.x, &mut self.weight, &dy, rows, self.inputs, n)
    }
}

impl Last {
    fn forward(&self, x: &[f64], rows: usize) -> Vec<f64> {
        let n = self.outputs;
        let mut y = multiply(x, &self.weight.value, rows, self.inputs, n);
        for r in 0..rows {
            for o in 0..n {
                let z = y[r * n + o] + self.bias.value[o];
                y[r * n + o] = 1.0 / (1.0 + (-z).exp());
            }
        }
        y
    }

    fn backward(&mut self, x: &[f64], y: &[f64], mut dy: Vec<f64>, rows: usize) -> Vec<f64> {
        let n = self.outputs;
        for o in 0..n {
            self.bias.gradient[o] = 0.0;
            for r in 0..rows {
                let y = y[r * n + o];
                dy[r * n + o] *= y * (1.0 - y);
                self.bias.gradient[o] += dy[r * n + o];
            }
        }
        multiply_backward(x, &mut self.weight, &dy, rows, self.inputs, n)
    }
}

/// Hidden layers, the code in their middle, and the last layer.
pub struct Autoencoder {
    pub hidden: Vec<Hidden>,
    pub last: Last,
    /// Steps done.
    step: i32,
}

impl Autoencoder {
    /// For images of `widths[0]` values, which every width in turn leads to the code and back again:
    /// `[64, 32, 8]` has layers 64-32, 32-8, 8-32 and 32-64.
    pub fn new(widths: &[usize], random: &mut Random) -> Autoencoder {
        let mut all = widths.to_vec();
        all.extend(widths.iter().rev().skip(1));
        let mut weight = |inputs: usize, outputs: usize, gain: f64| {
            let deviation = (gain / inputs as f64).sqrt();
            Parameter::new(
                (0..inputs * outputs)
                    .map(|_| deviation * random.normal())
                    .collect(),
            )
        };
        let mut hidden = Vec::new();
        for pair in all[..all.len() - 1].windows(2) {
            hidden.push(Hidden {
                inputs: pair[0],
                outputs: pair[1],
                weight: weight(pair[0], pair[1], 2.0),
                gamma: Parameter::new(vec![1.0; pair[1]]),
                beta: Parameter::new(vec![0.0; pair[1]]),
                running_mean: vec![0.0; pair[1]],
                running_variance: vec![1.0; pair[1]],
            });
        }
        let (inputs, outputs) = (all[all.len() - 2], all[all.len() - 1]);
        Autoencoder {
            hidden,
            last: Last {
                inputs,
                outputs,
                weight: weight(inputs, outputs, 1.0),
                bias: Parameter::new(vec![0.0; outputs]),
            },
            step: 0,
        }
    }

    /// Every parameter, layer by layer.
    pub fn parameters(&mut self) -> Vec<&mut Parameter> {
        let mut all = Vec::new();
        for layer in &mut self.hidden {
            all.extend([&mut layer.weight, &mut layer.gamma, &mut layer.beta]);
        }
        all.extend([&mut self.last.weight, &mut self.last.bias]);
        all
    }

    /// One step on a batch: forward, backward, update. Returns the loss before it.
    pub fn train(&mut self, clean: &[f64], noisy: &[f64], rows: usize, rate: f64) -> f64 {
        let mut path: Vec<Saved> = Vec::new();
        let mut x = noisy.to_vec();
        for layer in &mut self.hidden {
            let saved = layer.forward(x, rows);
            x = saved.y.clone();
            path.push(saved);
        }
        let y = self.last.forward(&x, rows);

        let mut loss = 0.0;
        let mut dy = vec![0.0; y.len()];
        for i in 0..y.len() {
            loss += (y[i] - clean[i]) * (y[i] - clean[i]) / y.len() as f64;
            dy[i] = 2.0 * (y[i] - clean[i]) / y.len() as f64;
        }

        let mut d = self.last.backward(&x, &y, dy, rows);
        for (layer, saved) in self.hidden.iter_mut().zip(&path).rev() {
            d = layer.backward(saved, d, rows);
        }
        self.step += 1;
        let step = self.step;
        for parameter in self.parameters() {
            parameter.update(step, rate);
        }
        loss
    }
}

/// A generator of random numbers: xorshift (Marsaglia, 2003).
pub struct Random(pub u64);

impl Random {
    /// Evenly from 0 to 1.
    pub fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let (u, turn) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
    }
}

/// Images of 8×8 pixels with one bright row and one bright column each.
fn crosses(rows: usize, random: &mut Random) -> Vec<f64> {
    let mut images = Vec::new();
    for _ in 0..rows {
        let (row, column) = (
            (8.0 * random.uniform()) as usize,
            (8.0 * random.uniform()) as usize,
        );
        for pixel in 0..64 {
            let bright = pixel / 8 == row || pixel % 8 == column;
            images.push(if bright { 0.9 } else { 0.1 });
        }
    }
    images
}

#[allow(dead_code)] // The test that reads this file trains a model of its own.
fn main() {
    const ROWS: usize = 64;
    let mut random = Random(1);
    let mut model = Autoencoder::new(&[64, 32, 16], &mut random);
    for step in 0..=500 {
        let clean = crosses(ROWS, &mut random);
        let noisy: Vec<f64> = clean.iter().map(|x| x + 0.3 * random.normal()).collect();
        let loss = model.train(&clean, &noisy, ROWS, 1e-2);
        if step % 100 == 0 {
            println!("step {step:>3}: mean squared error {loss:.4}; of the noise itself 0.0900");
        }
    }
}
