// Gradient descent with momentum over flat buffers. See src/kernels/sgd.rs.
//
//   g ← g + λ p,  v ← μ v + g,  p ← p − α v   or p − α (g + μ v)      α = schedule[position]
//
// One thread per parameter: dispatch ⌈len / GROUP⌉ work-groups.

struct Dims {
    len: u32,
    momentum: f32,
    decay: f32,
}

const NESTEROV: bool = false;

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read_write> p: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
@group(0) @binding(4) var<storage, read> schedule: array<f32>;
@group(0) @binding(5) var<storage, read> clock: array<u32>;

fn element(i: u32) {
    if i >= dims.len {
        return;
    }
    let gradient = g[i] + dims.decay * p[i];
    let velocity = dims.momentum * v[i] + gradient;
    v[i] = velocity;
    var direction = velocity;
    if NESTEROV {
        direction = gradient + dims.momentum * velocity;
    }
    p[i] -= schedule[clock[0]] * direction;
}
