// Labels of a batch, by index. See src/kernels/softmax.rs.
//
//   batch[r] = labels[order[position·R + r]]
//
// One thread per row: dispatch ⌈R / 64⌉ work-groups.

struct Dims {
    rows: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> clock: array<u32>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> batch: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = (group.y * groups.x + group.x) * 64u + local;
    if row < dims.rows {
        batch[row] = labels[order[clock[0] * dims.rows + row]];
    }
}
