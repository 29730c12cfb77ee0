// Sums over blocks of BLOCK elements, one work-group for each block: a thread adds up every GROUP-th element's
// term, then a tree of fixed shape adds the threads' sums. The shader says how many `elements` there are, what
// an element's `term` is, and holds `partial_sums`.

var<workgroup> sums_of_threads: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = group.y * groups.x + group.x;
    let first = block * BLOCK;
    let end = min(first + BLOCK, elements());
    var sum = 0.0;
    for (var i = first + local; i < end; i += GROUP) {
        sum += term(i);
    }
    sums_of_threads[local] = sum;
    workgroupBarrier();
    for (var half = GROUP / 2u; half > 0u; half /= 2u) {
        if local < half {
            sums_of_threads[local] += sums_of_threads[local + half];
        }
        workgroupBarrier();
    }
    if local == 0u && first < elements() {
        partial_sums[block] = sums_of_threads[0];
    }
}

