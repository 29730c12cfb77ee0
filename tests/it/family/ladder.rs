//! One level of a Ladder network: a clean and a noisy way up that share their weights, a lateral
//! connection, and a combinator, which is a kernel of this file.
//!
//! ```text
//! up        z = norm(x W),  z~ = norm(x~ W) + n,  h = tanh z~           norm: batch norm with γ and β
//! down      u = norm(h V),  z^ = g(z~, u)
//! losses    softmax cross-entropy of h and the labels;  mean of (z^ − z)²
//! ```
//! Sources: Rasmus et al., “Semi-supervised learning with Ladder networks” (2015); the gradients of g are
//! derived below.

use diabolo::buffer::{Element, Matrix, Operand, View};
use diabolo::emit::{Emission, Emitter, Gradient, Init, Layout, Parameter, Parameters};
use diabolo::gradcheck::{Case, Input};
use diabolo::kernels::column_sum::{ColumnSumFinish, ColumnSumPartial, blocks};
use diabolo::kernels::elementwise::{Add, Copy};
use diabolo::kernels::host::Memory;
use diabolo::kernels::{Activation, Dispatch, Kernel, linear_groups};
use diabolo::layers::{ActivationLayer, BatchNorm, Dense, Layer};
use diabolo::objective::{Per, softmax_cross_entropy, squared_error};
use diabolo::plan::{Pass, PlanBuilder};
use diabolo::scalar::Scalar;

use super::{ROWS, checked, input};

/// Parameters of the combinator for each unit.
const SHAPES: usize = 10;

/// What `g` computes on the way, of one element.
struct Combined<T> {
    /// σ(a₁ u + a₂)
    gate_mean: T,
    /// σ(a₆ u + a₇)
    gate_slope: T,
    mean: T,
    slope: T,
}

/// `μ = a₀ σ(a₁ u + a₂) + a₃ u + a₄`, `v = a₅ σ(a₆ u + a₇) + a₈ u + a₉`
fn combined<T: Scalar>(a: [T; SHAPES], u: T) -> Combined<T> {
    let sigmoid = |x: T| Activation::Sigmoid.apply(x);
    let gate_mean = sigmoid(a[1] * u + a[2]);
    let gate_slope = sigmoid(a[6] * u + a[7]);
    Combined {
        gate_mean,
        gate_slope,
        mean: a[0] * gate_mean + a[3] * u + a[4],
        slope: a[5] * gate_slope + a[8] * u + a[9],
    }
}

/// `g(z, u) = (z − μ(u)) v(u) + μ(u)`, for each unit with ten parameters of its own.
#[derive(Clone, Debug)]
struct Combine {
    /// `[N, C]`
    z: Matrix,
    /// `[N, C]`
    u: Matrix,
    /// `[10, C]`
    a: View,
    /// `[N, C]`
    y: Matrix,
}

/// A column's parameters.
fn of_column<T: Scalar>(a: &[T], cols: usize, column: usize) -> [T; SHAPES] {
    std::array::from_fn(|i| a[i * cols + column])
}

impl Kernel for Combine {
    const NAME: &'static str = "combine";
    const SHADER: &'static str = concat!(
        include_str!("combine_shared.wgsl"),
        include_str!("combine.wgsl")
    );

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("z", self.z),
            Operand::read("u", self.u),
            Operand::read("a", self.a),
            Operand::write("y", self.y),
        ]
    }

    fn flops(&self) -> u64 {
        22 * self.y.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let reads = [self.z.view, self.u.view, self.a];
        let ([z, u, a], [y]) = memory.real.access(reads, [self.y.view]);
        for (i, y) in y.iter_mut().enumerate() {
            let Combined { mean, slope, .. } =
                combined(of_column(a, self.y.cols, i % self.y.cols), u[i]);
            *y = (z[i] - mean) * slope + mean;
        }
    }

    fn gpu(&self) -> Dispatch {
        over(self.y)
    }
}

/// One thread for each element.
fn over(y: Matrix) -> Dispatch {
    Dispatch {
        constants: vec![],
        dims: vec![y.rows as u32, y.cols as u32, 0, 0],
        groups: linear_groups(y.view.len),
    }
}

/// `dz`, `du`, and of each row its part of `da`.
#[derive(Clone, Debug)]
struct CombineBackward {
    /// `[N, C]`
    z: Matrix,
    /// `[N, C]`
    u: Matrix,
    /// `[10, C]`
    a: View,
    /// `[N, C]`
    dy: Matrix,
    /// `[N, C]`
    dz: Matrix,
    /// `[N, C]`
    du: Matrix,
    /// `[N, 10·C]`
    da: Matrix,
}

impl Kernel for CombineBackward {
    const NAME: &'static str = "combine_backward";
    const SHADER: &'static str = concat!(
        include_str!("combine_shared.wgsl"),
        include_str!("combine_backward.wgsl")
    );

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("z", self.z),
            Operand::read("u", self.u),
            Operand::read("a", self.a),
            Operand::read("dy", self.dy),
            Operand::write("dz", self.dz),
            Operand::write("du", self.du),
            Operand::write("da", self.da),
        ]
    }

    fn flops(&self) -> u64 {
        60 * self.dy.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let cols = self.dy.cols;
        let reads = [self.z.view, self.u.view, self.a, self.dy.view];
        let writes = [self.dz.view, self.du.view, self.da.view];
        let ([z, u, a, dy], [dz, du, da]) = memory.real.access(reads, writes);
        for i in 0..dy.len() {
            let (row, column) = (i / cols, i % cols);
            let a = of_column(a, cols, column);
            let s = combined(a, u[i]);
            // y = (z − μ) v + μ
            dz[i] = dy[i] * s.slope;
            let d_mean = dy[i] * (T::one() - s.slope);
            let d_slope = dy[i] * (z[i] - s.mean);
            // σ′ = σ (1 − σ)
            let d_gate_mean = d_mean * a[0] * s.gate_mean * (T::one() - s.gate_mean);
            let d_gate_slope = d_slope * a[5] * s.gate_slope * (T::one() - s.gate_slope);
            du[i] = d_gate_mean * a[1] + d_mean * a[3] + d_gate_slope * a[6] + d_slope * a[8];
            let of_row = [
                d_mean * s.gate_mean,
                d_gate_mean * u[i],
                d_gate_mean,
                d_mean * u[i],
                d_mean,
                d_slope * s.gate_slope,
                d_gate_slope * u[i],
                d_gate_slope,
                d_slope * u[i],
                d_slope,
            ];
            for (p, part) in of_row.into_iter().enumerate() {
                da[(row * SHAPES + p) * cols + column] = part;
            }
        }
    }

    fn gpu(&self) -> Dispatch {
        over(self.dy)
    }
}

/// The combinator: two inputs, so it is no `Layer`.
struct Combinator {
    a: Parameter,
}

/// What [`Combinator`] saves: z and u.
struct Saved {
    z: Matrix,
    u: Matrix,
}

impl Combinator {
    const NAME: &'static str = "combinator";

    fn new(plan: &mut PlanBuilder, parameters: &mut Parameters, units: usize) -> Combinator {
        let (name, len) = (format!("{}.a", Combinator::NAME), SHAPES * units);
        let (layout, init) = (Layout::vector(len), Init::Constant(0.3));
        Combinator {
            a: parameters.parameter(plan, name, len, layout, init),
        }
    }

    fn forward(&self, e: &mut Emitter, z: Matrix, u: Matrix) -> (Matrix, Saved) {
        let e = &mut e.at(Combinator::NAME, Pass::Forward);
        let y = e.matrix("y", z.rows, z.cols);
        let a = self.a.value;
        e.launch("", Combine { z, u, a, y });
        (y, Saved { z, u })
    }

    fn backward(&self, e: &mut Emitter, saved: Saved, dy: Gradient) -> [Gradient; 2] {
        let e = &mut e.at(Combinator::NAME, Pass::Backward);
        let Saved { z, u } = saved;
        let [dz, du] = ["dz", "du"].map(|what| e.matrix(what, z.rows, z.cols));
        let da = e.matrix("da", z.rows, SHAPES * z.cols);
        let (a, dy) = (self.a.value, dy.matrix());
        e.launch(
            "",
            CombineBackward {
                z,
                u,
                a,
                dy,
                dz,
                du,
                da,
            },
        );
        e.learn([self.a], |e, [sum]| {
            let partial = e.matrix("da.partial", blocks(da.rows), da.cols);
            let of_blocks = ColumnSumPartial {
                x: da,
                partial: partial.view,
            };
            e.launch("a, blocks", of_blocks);
            e.launch("a", ColumnSumFinish { partial, sum });
        });
        [Gradient::new(dz), Gradient::new(du)]
    }
}

/// See the [file](self).
struct Level {
    dense: Dense,
    norm: BatchNorm,
    activation: ActivationLayer,
    back: Dense,
    norm_back: BatchNorm,
    combinator: Combinator,
    parameters: Parameters,
}

impl Level {
    fn new(plan: &mut PlanBuilder, inputs: usize, units: usize) -> Level {
        let mut p = Parameters::new(plan);
        let linear = Activation::Identity;
        Level {
            dense: Dense::new(plan, &mut p, "dense", [inputs, units], 1.0),
            norm: BatchNorm::new(plan, &mut p, "norm", units, linear),
            activation: ActivationLayer {
                name: "tanh".to_owned(),
                activation: Activation::Tanh,
            },
            back: Dense::new(plan, &mut p, "back", [units, units], 1.0),
            norm_back: BatchNorm::new(plan, &mut p, "norm_back", units, linear),
            combinator: Combinator::new(plan, &mut p, units),
            parameters: p,
        }
    }

    fn train(&self, e: &mut Emitter, [x, noisy, noise]: [Matrix; 3], labels: View) {
        let (pre, clean_dense) = self.dense.forward(e, x);
        let (clean, clean_norm) = self.norm.forward(e, pre);
        let (pre, dense) = self.dense.forward(e, noisy);
        let (normal, norm) = self.norm.forward(e, pre);
        let z = sum(e, normal, noise);
        let (h, activation) = self.activation.forward(e, z);
        let (pre, back) = self.back.forward(e, h);
        let (u, norm_back) = self.norm_back.forward(e, pre);
        let (estimate, combined) = self.combinator.forward(e, z, u);

        let dh = softmax_cross_entropy(e, h, labels);
        let [d_estimate, d_clean] = squared_error(e, "denoising", Per::Element, estimate, clean);

        let [lateral, du] = self.combinator.backward(e, combined, d_estimate);
        let d_pre = self.norm_back.backward(e, norm_back, du);
        let above = self.back.backward(e, back, d_pre);
        let dh = dh.plus(e, above);
        let dz = self.activation.backward(e, activation, dh).plus(e, lateral);
        let d_pre = self.norm.backward(e, norm, dz);
        self.dense.backward(e, dense, d_pre).unused();
        let d_pre = self.norm.backward(e, clean_norm, d_clean);
        self.dense.backward(e, clean_dense, d_pre).unused();
        e.update(&self.parameters);
    }
}

/// Appends `x + noise`, which leaves x as it is.
fn sum(e: &mut Emitter, x: Matrix, noise: Matrix) -> Matrix {
    let e = &mut e.at("noise", Pass::Forward);
    let y = e.matrix("y", x.rows, x.cols);
    let (copied, added) = (x.view, noise.view);
    e.launch(
        "copy",
        Copy {
            x: copied,
            y: y.view,
        },
    );
    e.launch(
        "",
        Add {
            x: added,
            y: y.view,
        },
    );
    y
}

#[test]
fn a_level_of_a_ladder_network_has_right_gradients() {
    const INPUTS: usize = 5;
    const UNITS: usize = 4;
    let mut emission = Emission::of_gradients(PlanBuilder::new(), 0);
    let level = Level::new(&mut emission.plan, INPUTS, UNITS);
    let (x, of_x) = input(&mut emission, "x", ROWS, INPUTS);
    let (noisy, of_noisy) = input(&mut emission, "noisy", ROWS, INPUTS);
    let (noise, of_noise) = input(&mut emission, "noise", ROWS, UNITS);
    let labels = emission.plan.persistent("labels", Element::Index, ROWS);
    let of_labels = Input::Labels(labels, UNITS as u32);
    let parameters = level.parameters.clone();
    let case = Case::step(
        "ladder",
        "ladder".to_owned(),
        emission,
        &[&parameters],
        vec![of_x, of_noisy, of_noise, of_labels],
        |e| level.train(e, [x, noisy, noise], labels),
    );
    // Two weights, two γ, two β and a.
    assert_eq!(checked(&case), 7);
}
