// Gradient of the loss. See src/kernels/loss.rs.
//
//   mean squared error      dy = 2 (y − t) / D
//   binary cross-entropy    dy = (σ(y) − t) / D
//
// One thread per element: dispatch ⌈E / GROUP⌉ work-groups.

struct Dims {
    elements: u32,
    divisor: f32,
}

const LOSS: u32 = 0u; // 0 mean squared error, 1 binary cross-entropy from logits

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> target_values: array<f32>;
@group(0) @binding(3) var<storage, read_write> dy: array<f32>;

fn slope(y: f32, t: f32) -> f32 {
    if LOSS == 1u {
        let e = exp(-abs(y));
        return select(e, 1.0, y >= 0.0) / (1.0 + e) - t;
    }
    return 2.0 * (y - t);
}

fn element(i: u32) {
    if i >= dims.elements {
        return;
    }
    dy[i] = slope(y[i], target_values[i]) / dims.divisor;
}
