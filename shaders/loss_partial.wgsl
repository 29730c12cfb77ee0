// Loss, first pass. See src/kernels/loss.rs.
//
//   partial[b] = Σ_{e in block b} term(y[e], t[e])      blocks of 4,096 elements
//
// One work-group per block: each thread sums every 64th element, then a tree of fixed shape adds
// the threads' sums. Dispatch ⌈E / 4096⌉ work-groups.

struct Dims {
    elements: u32,
}

const LOSS: u32 = 0u; // 0 mean squared error, 1 binary cross-entropy from logits
const BLOCK: u32 = 4096u;

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> target_values: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial_sums: array<f32>;

var<workgroup> sums: array<f32, 64>;

fn term(y: f32, t: f32) -> f32 {
    if LOSS == 1u {
        return select(y, 0.0, y < 0.0) - y * t + log(1.0 + exp(-abs(y)));
    }
    return (y - t) * (y - t);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = group.y * groups.x + group.x;
    let first = block * BLOCK;
    var sum = 0.0;
    for (var i = first + local; i < min(first + BLOCK, dims.elements); i += 64u) {
        sum += term(y[i], target_values[i]);
    }
    sums[local] = sum;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half {
            sums[local] += sums[local + half];
        }
        workgroupBarrier();
    }
    if local == 0u && first < dims.elements {
        partial_sums[block] = sums[0];
    }
}
