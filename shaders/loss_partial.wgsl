// Loss, first pass. See src/kernels/loss.rs.
//
//   partial[b] = Σ_{e in block b} term(y[e], t[e])      blocks of BLOCK elements
//
// One work-group per block: dispatch ⌈E / BLOCK⌉ work-groups.

struct Dims {
    elements: u32,
}

const LOSS: u32 = 0u; // 0 mean squared error, 1 binary cross-entropy from logits

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> target_values: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial_sums: array<f32>;

fn term_of(y: f32, t: f32) -> f32 {
    if LOSS == 1u {
        return select(y, 0.0, y < 0.0) - y * t + log(1.0 + exp(-abs(y)));
    }
    return (y - t) * (y - t);
}

fn elements() -> u32 {
    return dims.elements;
}

fn term(i: u32) -> f32 {
    return term_of(y[i], target_values[i]);
}
