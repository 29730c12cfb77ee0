// Divergence from the standard normal, first pass. See src/kernels/gaussian.rs.
//
//   partial[b] = Σ ½ (μ² + e^l − 1 − l)      over blocks of 1,024 elements
//
// One work-group per block: each thread sums every 64th element, then a tree of fixed shape adds the
// threads' sums. Dispatch ⌈N d / 1024⌉ work-groups.

struct Dims {
    rows: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;

var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = group.y * groups.x + group.x;
    let first = block * 1024u;
    let elements = dims.rows * dims.width;
    var sum = 0.0;
    for (var e = first + local; e < min(first + 1024u, elements); e += 64u) {
        let at = 2u * (e / dims.width) * dims.width + e % dims.width;
        let mean = q[at];
        let log_variance = q[at + dims.width];
        sum += 0.5 * (mean * mean + exp_minus_one(log_variance) - log_variance);
    }
    sums[local] = sum;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half {
            sums[local] += sums[local + half];
        }
        workgroupBarrier();
    }
    if local == 0u && first < elements {
        partial_sums[block] = sums[0];
    }
}
