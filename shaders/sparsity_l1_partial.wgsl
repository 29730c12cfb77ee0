// L1, first pass. See src/kernels/sparsity.rs.
//
//   partial[b] = Σ |h|      over blocks of 1,024 elements
//
// One work-group per block: each thread sums every 64th element, then a tree of fixed shape adds the
// threads' sums. Dispatch ⌈N H / 1024⌉ work-groups.

struct Dims {
    len: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;

var<workgroup> sums_of_threads: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = group.y * groups.x + group.x;
    let first = block * 1024u;
    var sum = 0.0;
    for (var i = first + local; i < min(first + 1024u, dims.len); i += 64u) {
        sum += abs(h[i]);
    }
    sums_of_threads[local] = sum;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half {
            sums_of_threads[local] += sums_of_threads[local + half];
        }
        workgroupBarrier();
    }
    if local == 0u && first < dims.len {
        partial_sums[block] = sums_of_threads[0];
    }
}
