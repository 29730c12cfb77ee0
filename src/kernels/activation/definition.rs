//! The definition: one element, in f64.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::Activation;

/// f(x)
pub fn forward(f: Activation, x: f64) -> f64 {
    match f {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu => {
            if x < 0.0 {
                0.01 * x
            } else {
                x
            }
        }
        Activation::Elu => {
            if x < 0.0 {
                x.exp_m1()
            } else {
                x
            }
        }
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Softplus => (-x.abs()).exp().ln_1p() + x.max(0.0),
        Activation::Gelu => x * 0.5 * (1.0 + libm::erf(x * FRAC_1_SQRT_2)),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Mish => x * x.exp().ln_1p().tanh(),
    }
}

/// `dy · f′`, of y = f(x), or of x where [y does not tell it](Activation::reads_input).
pub fn backward(f: Activation, saved: f64, dy: f64) -> f64 {
    let slope = match f {
        Activation::Identity => 1.0,
        Activation::Relu => f64::from(saved > 0.0),
        Activation::LeakyRelu => {
            if saved > 0.0 {
                1.0
            } else {
                0.01
            }
        }
        Activation::Elu => {
            if saved > 0.0 {
                1.0
            } else {
                saved + 1.0
            }
        }
        Activation::Sigmoid => saved * (1.0 - saved),
        Activation::Tanh => 1.0 - saved * saved,
        Activation::Softplus => 1.0 - (-saved).exp(),
        Activation::Gelu => {
            let density = (-0.5 * saved * saved).exp() / (2.0 * PI).sqrt();
            0.5 * (1.0 + libm::erf(saved * FRAC_1_SQRT_2)) + saved * density
        }
        Activation::Silu => {
            let sigmoid = 1.0 / (1.0 + (-saved).exp());
            sigmoid * (1.0 + saved * (1.0 - sigmoid))
        }
        Activation::Mish => {
            let sigmoid = 1.0 / (1.0 + (-saved).exp());
            let t = saved.exp().ln_1p().tanh();
            t + saved * sigmoid * (1.0 - t * t)
        }
    };
    dy * slope
}
