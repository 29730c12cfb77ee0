// Squares of the gradients, first pass. See src/kernels/norm_clip.rs.
//
//   partial[b] = Σ g²      over blocks of 4,096 elements
//
// One work-group per block: each thread sums every 64th element, then a tree of fixed shape adds the
// threads' sums. Dispatch ⌈len / 4096⌉ work-groups.

struct Dims {
    len: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;

var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = group.y * groups.x + group.x;
    let first = block * 4096u;
    var sum = 0.0;
    for (var i = first + local; i < min(first + 4096u, dims.len); i += 64u) {
        sum += g[i] * g[i];
    }
    sums[local] = sum;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half {
            sums[local] += sums[local + half];
        }
        workgroupBarrier();
    }
    if local == 0u && first < dims.len {
        partial_sums[block] = sums[0];
    }
}
