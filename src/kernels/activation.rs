//! Activations: element by element, alone or fused behind another kernel.
//!
//! ```text
//! forward    y  = f(x)
//! backward   dx = dy · f′     with f′ in terms of y, or of x where y does not tell it
//!
//! relu        f = max(x, 0)             f′ = [y > 0]
//! leaky relu  f = x, or x/100 if x < 0  f′ = 1 if y > 0, else 1/100
//! elu         f = x, or eˣ − 1 if x < 0 f′ = 1 if y > 0, else y + 1
//! sigmoid     f = 1 / (1 + e⁻ˣ)         f′ = y (1 − y)
//! tanh        f = tanh x                f′ = 1 − y²
//! softplus    f = ln(1 + eˣ)            f′ = 1 − e⁻ʸ
//! gelu        f = x Φ(x)                f′ = Φ(x) + x φ(x)       Φ, φ of the standard normal
//! silu        f = x σ(x)                f′ = σ(x) (1 + x (1 − σ(x)))
//! mish        f = x t                   f′ = t + x σ(x) (1 − t²),  t = tanh(ln(1 + eˣ))
//! ```
//! The constants are PyTorch's defaults. The last three fall before they rise, so that y does not tell
//! where x was: they read x ([`Activation::reads_input`]) and stand in layers of their own, where the
//! others are fused behind the kernel that makes their input.

pub mod definition;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parallel::{self, with_constant};
use super::{Dispatch, Kernel, linear_groups, shader};
use crate::buffer::{Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// A function applied to every element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// y = x
    Identity,
    /// y = max(x, 0)
    Relu,
    /// y = x, or x/100 below 0: no unit is ever dead (Maas et al., 2013)
    LeakyRelu,
    /// y = x, or eˣ − 1 below 0 (Clevert et al., 2015)
    Elu,
    /// y = 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// y = tanh x
    Tanh,
    /// y = ln(1 + eˣ): a ReLU without its kink
    Softplus,
    /// y = x Φ(x) (Hendrycks and Gimpel, 2016)
    Gelu,
    /// y = x σ(x), also called swish (Ramachandran et al., 2017)
    Silu,
    /// y = x tanh(ln(1 + eˣ)) (Misra, 2019)
    Mish,
}

// These are functions and not calls of `apply`: an `apply` that calls itself is not inlined, and the loops
// over it are not vectorised.

#[inline(always)]
fn sigmoid<T: Scalar>(x: T) -> T {
    T::one() / (T::one() + (-x).exponential())
}

#[inline(always)]
fn tanh<T: Scalar>(x: T) -> T {
    // The exponential of a negative number cannot overflow.
    let e = (-(x + x).abs()).exponential_minus_one();
    (e / (T::of(2.0) + e)).copysign(x)
}

#[inline(always)]
fn softplus<T: Scalar>(x: T) -> T {
    let rest = (-x.abs()).exponential().logarithm_of_one_plus();
    if x < T::zero() { rest } else { x + rest }
}

/// φ(0) = 1/√2π
const DENSITY_AT_0: f64 = 0.398_942_280_401_432_7;

/// Φ(x)
#[inline(always)]
fn normal_distribution<T: Scalar>(x: T) -> T {
    let half = T::of(0.5);
    half + half * (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).error_function()
}

/// What leaky ReLU leaves of a negative number.
const LEAK: f64 = 0.01;

impl Activation {
    /// f(x)
    #[inline(always)]
    pub fn apply<T: Scalar>(self, x: T) -> T {
        match self {
            Activation::Identity => x,
            // Not `max`, which would turn a NaN into 0 and hide it.
            Activation::Relu if x < T::zero() => T::zero(),
            Activation::Relu => x,
            Activation::LeakyRelu if x < T::zero() => T::of(LEAK) * x,
            Activation::LeakyRelu => x,
            Activation::Elu if x < T::zero() => x.exponential_minus_one(),
            Activation::Elu => x,
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => tanh(x),
            Activation::Softplus => softplus(x),
            Activation::Gelu => x * normal_distribution(x),
            Activation::Silu => x * sigmoid(x),
            Activation::Mish => x * tanh(softplus(x)),
        }
    }

    /// f′, from y = f(x), or from x if the activation [reads](Self::reads_input) it.
    #[inline(always)]
    pub fn slope<T: Scalar>(self, y: T) -> T {
        match self {
            Activation::Identity => T::one(),
            Activation::Relu if y > T::zero() => T::one(),
            Activation::Relu => T::zero(),
            Activation::LeakyRelu if y > T::zero() => T::one(),
            Activation::LeakyRelu => T::of(LEAK),
            Activation::Elu if y > T::zero() => T::one(),
            Activation::Elu => y + T::one(),
            Activation::Sigmoid => y * (T::one() - y),
            Activation::Tanh => T::one() - y * y,
            Activation::Softplus => -(-y).exponential_minus_one(),
            Activation::Gelu => {
                let x = y;
                let density = (T::of(-0.5) * x * x).exponential() * T::of(DENSITY_AT_0);
                normal_distribution(x) + x * density
            }
            Activation::Silu => {
                let (x, sigmoid) = (y, sigmoid(y));
                sigmoid * (T::one() + x * (T::one() - sigmoid))
            }
            Activation::Mish => {
                let (x, sigmoid) = (y, sigmoid(y));
                let t = tanh(softplus(x));
                t + x * sigmoid * (T::one() - t * t)
            }
        }
    }

    /// Whether f′ is written in terms of x: y does not tell it.
    pub fn reads_input(self) -> bool {
        matches!(self, Activation::Gelu | Activation::Silu | Activation::Mish)
    }

    /// Every one, in the order of their numbers in the shaders.
    pub const ALL: [Activation; 10] = [
        Activation::Identity,
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Elu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softplus,
        Activation::Gelu,
        Activation::Silu,
        Activation::Mish,
    ];

    /// Those that a kernel can fuse behind the product that makes their input. The input is then not kept, so
    /// these are all activations whose backward pass does not [read](Self::reads_input) it.
    pub const FUSIBLE: [Activation; 7] = [
        Activation::Identity,
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Elu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softplus,
    ];

    /// Whether its slope takes more than one value on either side of 0.
    pub fn is_curved(self) -> bool {
        !matches!(
            self,
            Activation::Identity | Activation::Relu | Activation::LeakyRelu
        )
    }

    /// Its name, as recipes have it.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Identity => "identity",
            Activation::Relu => "relu",
            Activation::LeakyRelu => "leaky-relu",
            Activation::Elu => "elu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Softplus => "softplus",
            Activation::Gelu => "gelu",
            Activation::Silu => "silu",
            Activation::Mish => "mish",
        }
    }

    /// The formula of f, applied to what a formula computes: `relu(a·b)`.
    pub fn of(self, inner: &str) -> String {
        match self {
            Activation::Identity => inner.to_owned(),
            f => format!("{}({inner})", f.name()),
        }
    }

    /// The formula of a gradient g behind f: `g·relu′`.
    pub fn gradient(self, g: &str) -> String {
        match self {
            Activation::Identity => g.to_owned(),
            f => format!("{g}·{}′", f.name()),
        }
    }

    /// Its number in the shaders (`ACTIVATION`).
    pub fn code(self) -> String {
        format!("{}u", self as u32)
    }

    /// FLOPs of f on one element.
    pub fn flops(self) -> u64 {
        match self {
            Activation::Identity => 0,
            Activation::Relu | Activation::LeakyRelu => 1,
            Activation::Elu => 2,
            Activation::Sigmoid => 4,
            Activation::Silu => 5,
            Activation::Tanh | Activation::Softplus => 6,
            Activation::Gelu | Activation::Mish => 13,
        }
    }
}

/// [`with_constant`] over every activation.
macro_rules! with_any {
    ($value:expr, $name:ident => $body:expr) => {
        with_constant!(
            $value,
            Activation::{
                Identity, Relu, LeakyRelu, Elu, Sigmoid, Tanh, Softplus, Gelu, Silu, Mish
            },
            $name => $body)
    };
}

/// [`with_constant`] over every activation that can be fused. The others would not be vector code, and
/// keep the loops that they stand beside from being it.
macro_rules! with_activation {
    ($value:expr, $name:ident => $body:expr) => {
        crate::kernels::parallel::with_constant!(
            $value,
            Activation::{Identity, Relu, LeakyRelu, Elu, Sigmoid, Tanh, Softplus},
            $name => $body;
            Gelu | Silu | Mish => panic!("{} cannot be fused", $value.name()))
    };
}
pub(super) use with_activation;

/// `y = f(x)`, all of one length.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Input.
    pub x: View,
    /// Output.
    pub y: View,
    /// f
    pub activation: Activation,
}

impl Kernel for Forward {
    const NAME: &'static str = "activation";
    const SHADER: &'static str =
        shader!([] "shared/element", "shared/exp_minus_one", "shared/activation", "activation");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("x", self.x), Operand::write("y", self.y)]
    }

    fn formula(&self) -> String {
        self.activation.of("x")
    }

    fn flops(&self) -> u64 {
        self.activation.flops() * self.y.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([x], [y]) = memory.real.access([self.x], [self.y]);
        parallel::chunks(&memory.team, y, 1, |first, y| {
            parallel::simd(
                #[inline(always)]
                || {
                    with_any!(self.activation, F => {
                        for (y, &x) in y.iter_mut().zip(&x[first..]) {
                            *y = F.apply(x);
                        }
                    });
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        elementwise(self.activation, self.y.len)
    }
}

/// `dx = dy · f′`, all of one length.
#[derive(Clone, Debug)]
pub struct Backward {
    /// y, or x if the activation [reads](Activation::reads_input) it.
    pub saved: View,
    /// Gradient of the loss by y.
    pub dy: View,
    /// Gradient of the loss by x.
    pub dx: View,
    /// f
    pub activation: Activation,
}

impl Kernel for Backward {
    const NAME: &'static str = "activation_backward";
    const SHADER: &'static str = shader!([] "shared/element", "shared/exp_minus_one", "shared/activation", "activation_backward");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("saved", self.saved),
            Operand::read("dy", self.dy),
            Operand::write("dx", self.dx),
        ]
    }

    fn formula(&self) -> String {
        self.activation.gradient("dy")
    }

    fn flops(&self) -> u64 {
        3 * self.dx.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([saved, dy], [dx]) = memory.real.access([self.saved, self.dy], [self.dx]);
        parallel::chunks(&memory.team, dx, 1, |first, dx| {
            parallel::simd(
                #[inline(always)]
                || {
                    with_any!(self.activation, F => {
                        let saved = &saved[first..];
                        for ((dx, &dy), &saved) in dx.iter_mut().zip(&dy[first..]).zip(saved) {
                            *dx = dy * F.slope(saved);
                        }
                    });
                },
            );
        });
    }

    fn gpu(&self) -> Dispatch {
        elementwise(self.activation, self.dx.len)
    }
}

fn elementwise(activation: Activation, len: usize) -> Dispatch {
    Dispatch {
        constants: vec![("ACTIVATION", activation.code())],
        dims: vec![len as u32],
        groups: linear_groups(len),
    }
}

#[cfg(test)]
mod tests {
    use super::Activation;

    /// Most tests go through `ALL`: what is missing there is not tested.
    #[test]
    fn all_holds_every_activation_under_its_name_in_recipes() {
        let schema = serde_json::to_value(schemars::schema_for!(Activation)).expect("JSON");
        let variants = schema["oneOf"].as_array().expect("a variant each");
        let names = variants.iter().map(|variant| &variant["const"]);
        assert!(
            names.eq(Activation::ALL.map(Activation::name)),
            "ALL or name() differ from the variants: {schema:#}"
        );
    }

    #[test]
    fn activations_that_do_not_read_their_input_are_fusible_and_no_others() {
        let all = Activation::ALL.into_iter();
        let fusible: Vec<_> = all.filter(|f| !f.reads_input()).collect();
        assert_eq!(fusible, Activation::FUSIBLE);
    }

    #[test]
    fn slopes_of_inputs_are_the_derivatives() {
        let all = Activation::ALL.into_iter();
        for f in all.filter(|f| f.reads_input()) {
            for x in (-60..=60).map(|i| 0.1 * f64::from(i)) {
                let h = 1e-4;
                let [left2, left, right, right2] =
                    [-2.0, -1.0, 1.0, 2.0].map(|i| f.apply(x + i * h));
                let slope = (8.0 * (right - left) - (right2 - left2)) / (12.0 * h);
                assert!((f.slope(x) - slope).abs() < 1e-10, "{f:?} at {x}");
            }
        }
    }
}
