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
        default: {
            return x;
        }
    }
}

// f′(x), from y = f(x)
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
        default: {
            return 1.0;
        }
    }
}

