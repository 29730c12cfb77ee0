//! Activations: element by element, alone or fused behind another kernel.
//!
//! ```text
//! forward    y  = f(x)
//! backward   dx = dy · f′     with f′ written in terms of y, so forward saves only y
//!
//! relu        f = max(x, 0)             f′ = [y > 0]
//! leaky relu  f = x, or x/100 if x < 0  f′ = 1 if y > 0, else 1/100
//! elu         f = x, or eˣ − 1 if x < 0 f′ = 1 if y > 0, else y + 1
//! sigmoid     f = 1 / (1 + e⁻ˣ)         f′ = y (1 − y)
//! tanh        f = tanh x                f′ = 1 − y²
//! softplus    f = ln(1 + eˣ)            f′ = 1 − e⁻ʸ
//! ```
//! The constants are PyTorch's defaults.

use serde::{Deserialize, Serialize};

use super::parallel::{self, with_activation};
use super::{Dispatch, Kernel, linear_groups, shader};
use crate::buffer::{Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// A function applied to every element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
            Activation::Sigmoid => T::one() / (T::one() + (-x).exponential()),
            Activation::Tanh => {
                // The exponential of a negative number cannot overflow.
                let e = (-(x + x).abs()).exponential_minus_one();
                (e / (T::of(2.0) + e)).copysign(x)
            }
            Activation::Softplus => {
                let rest = (-x.abs()).exponential().logarithm_of_one_plus();
                if x < T::zero() { rest } else { x + rest }
            }
        }
    }

    /// f′, from y = f(x)
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
        }
    }

    /// Every one, in the order of their numbers in the shaders.
    pub const ALL: [Activation; 7] = [
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
        }
    }

    /// Its number in the shaders.
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
            Activation::Tanh | Activation::Softplus => 6,
        }
    }
}

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
    const SHADER: &'static str = shader!("shared/exp_minus_one", "shared/activation", "activation");

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("x", self.x), Operand::write("y", self.y)]
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
                    with_activation!(self.activation, F => {
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

/// `dx = dy · f′(y)`, all of one length.
#[derive(Clone, Debug)]
pub struct Backward {
    /// What forward gave.
    pub y: View,
    /// Gradient of the loss by y.
    pub dy: View,
    /// Gradient of the loss by x.
    pub dx: View,
    /// f
    pub activation: Activation,
}

impl Kernel for Backward {
    const NAME: &'static str = "activation_backward";
    const SHADER: &'static str = shader!(
        "shared/exp_minus_one",
        "shared/activation",
        "activation_backward"
    );

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("y", self.y),
            Operand::read("dy", self.dy),
            Operand::write("dx", self.dx),
        ]
    }

    fn flops(&self) -> u64 {
        3 * self.y.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([y, dy], [dx]) = memory.real.access([self.y, self.dy], [self.dx]);
        parallel::chunks(&memory.team, dx, 1, |first, dx| {
            parallel::simd(
                #[inline(always)]
                || {
                    with_activation!(self.activation, F => {
                        for ((dx, &dy), &y) in dx.iter_mut().zip(&dy[first..]).zip(&y[first..]) {
                            *dx = dy * F.slope(y);
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

fn elementwise(activation: Activation, len: usize) -> Dispatch {
    Dispatch {
        constants: vec![("ACTIVATION", activation.code())],
        dims: vec![len as u32],
        groups: linear_groups(len),
    }
}
