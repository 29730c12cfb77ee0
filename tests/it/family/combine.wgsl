// y = (z - mean) * slope + mean, one thread for each element.
// Dispatch: ceil(rows * columns / 64) work-groups.

@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= size.x * size.y {
        return;
    }
    let n = size.y;
    let c = i % n;
    let mean = a[c] * sigmoid(a[n + c] * u[i] + a[2u * n + c]) + a[3u * n + c] * u[i] + a[4u * n + c];
    let slope = a[5u * n + c] * sigmoid(a[6u * n + c] * u[i] + a[7u * n + c])
        + a[8u * n + c] * u[i] + a[9u * n + c];
    y[i] = (z[i] - mean) * slope + mean;
}
