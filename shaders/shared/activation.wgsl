// The activations f and their slopes f′, shared by the kernels that fuse them: a shader that calls
// them is this file followed by its own. See src/kernels/activation.rs.

const ACTIVATION: u32 = 0u; // in the order of the room's list

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
            return select(x, e - 1.0, x < 0.0);
        }
        case 4u: { // sigmoid
            return select(e, 1.0, x >= 0.0) / (1.0 + e);
        }
        case 5u: { // tanh
            return sign(x) * (1.0 - e * e) / (1.0 + e * e);
        }
        case 6u: { // softplus
            return select(x, 0.0, x < 0.0) + log(1.0 + e);
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
            return 1.0 - exp(-y);
        }
        default: {
            return 1.0;
        }
    }
}

