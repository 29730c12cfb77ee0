// Adam over flat buffers. See src/kernels/adam.rs.
//
//   m ← m + (1−β₁)(g − m),  v ← v + (1−β₂)(g² − v)
//   p ← keep p − rate · m / (√v · scale + ε)    [rate, scale, keep] = schedule[position]
//
// One thread per parameter: dispatch ⌈len / GROUP⌉ work-groups.

struct Dims {
    len: u32,
    keep1: f32, // 1 − β₁
    keep2: f32, // 1 − β₂
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read_write> p: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> m: array<f32>;
@group(0) @binding(4) var<storage, read_write> v: array<f32>;
@group(0) @binding(5) var<storage, read> schedule: array<f32>;
@group(0) @binding(6) var<storage, read> clock: array<u32>;

fn element(i: u32) {
    if i >= dims.len {
        return;
    }
    let position = clock[0];
    let rate = schedule[3u * position];
    let scale = schedule[3u * position + 1u];
    let keep = schedule[3u * position + 2u];
    let gradient = g[i];
    let mean = m[i] + dims.keep1 * (gradient - m[i]);
    let variance = v[i] + dims.keep2 * (gradient * gradient - v[i]);
    m[i] = mean;
    v[i] = variance;
    p[i] = p[i] * keep - rate * mean / (sqrt(variance) * scale + dims.epsilon);
}
