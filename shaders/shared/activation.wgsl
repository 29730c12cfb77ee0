// The activations f and their slopes f′, shared by the kernels that fuse them: a shader that calls
// them is this file followed by its own. See src/kernels/activation.rs.

const ACTIVATION: u32 = 0u; // in the order of the room's list

// ln(1 + e) for e in [0, 1], as 2·artanh(s) by its series: 1 + e would swallow the digits of a small e.
fn log_1p(e: f32) -> f32 {
    let s = e / (2.0 + e); // at most 1/3
    let q = s * s;
    let deep = 1.0 / 9.0 + q * (1.0 / 11.0 + q * (1.0 / 13.0 + q / 15.0));
    return 2.0 * s * (1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * deep))));
}

// e^(−x²/2) P(t): 1 − Φ(x) for x ≥ 0, with t = 1 / (1 + x·0.2316419), good to 7.5e-8 (Abramowitz and
// Stegun, “Handbook of mathematical functions”, 26.2.17).
fn upper_tail(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.2316419 * x);
    let p = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
    return 0.3989422804 * exp(-0.5 * x * x) * p;
}

// Φ(x)
fn normal_distribution(x: f32) -> f32 {
    let tail = upper_tail(abs(x));
    return select(1.0 - tail, tail, x < 0.0);
}

// σ(x); the exponential of a negative number cannot overflow.
fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

// tanh(ln(1 + eˣ)) = ((1 + eˣ)² − 1) / ((1 + eˣ)² + 1), in terms of e^(−|x|)
fn tanh_of_softplus(x: f32) -> f32 {
    let e = exp(-abs(x));
    let below = e * (2.0 + e) / (2.0 + e * (2.0 + e));
    let above = (1.0 + 2.0 * e) / (1.0 + 2.0 * e * (1.0 + e));
    return select(above, below, x < 0.0);
}

// f(x)
fn activate(x: f32) -> f32 {
    // The exponential of a negative number cannot overflow.
    let e = exp(-abs(x));
    switch ACTIVATION {
        case 1u: { // ReLU
            return select(x, 0.0, x < 0.0);
        }
        case 2u: { // leaky ReLU
            return select(x, 0.01 * x, x < 0.0);
        }
        case 3u: { // ELU
            return select(x, exp_minus_one(x), x < 0.0);
        }
        case 4u: { // sigmoid
            return select(e, 1.0, x >= 0.0) / (1.0 + e);
        }
        case 5u: { // tanh
            let twice = exp_minus_one(-2.0 * abs(x));
            return -sign(x) * twice / (2.0 + twice);
        }
        case 6u: { // softplus
            return select(x, 0.0, x < 0.0) + log_1p(e);
        }
        case 7u: { // GELU
            return x * normal_distribution(x);
        }
        case 8u: { // SiLU
            return x * sigmoid(x);
        }
        case 9u: { // Mish
            return x * tanh_of_softplus(x);
        }
        default: {
            return x;
        }
    }
}

// f′(x), from y = f(x), or from x where y does not tell it
fn slope(y: f32) -> f32 {
    switch ACTIVATION {
        case 1u: {
            return select(0.0, 1.0, y > 0.0);
        }
        case 2u: {
            return select(0.01, 1.0, y > 0.0);
        }
        case 3u: {
            return select(y + 1.0, 1.0, y > 0.0);
        }
        case 4u: {
            return y * (1.0 - y);
        }
        case 5u: {
            return 1.0 - y * y;
        }
        case 6u: {
            return -exp_minus_one(-y);
        }
        case 7u: { // of x
            return normal_distribution(y) + y * 0.3989422804 * exp(-0.5 * y * y);
        }
        case 8u: { // of x
            let s = sigmoid(y);
            return s * (1.0 + y * (1.0 - s));
        }
        case 9u: { // of x
            let t = tanh_of_softplus(y);
            return t + y * sigmoid(y) * (1.0 - t * t);
        }
        default: {
            return 1.0;
        }
    }
}

