// dz, du and each row's part of da, one thread for each element.
// Dispatch: ceil(rows * columns / 64) work-groups.

@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read_write> dz: array<f32>;
@group(0) @binding(6) var<storage, read_write> du: array<f32>;
@group(0) @binding(7) var<storage, read_write> da: array<f32>;

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
    let gate_mean = sigmoid(a[n + c] * u[i] + a[2u * n + c]);
    let gate_slope = sigmoid(a[6u * n + c] * u[i] + a[7u * n + c]);
    let mean = a[c] * gate_mean + a[3u * n + c] * u[i] + a[4u * n + c];
    let slope = a[5u * n + c] * gate_slope + a[8u * n + c] * u[i] + a[9u * n + c];
    dz[i] = dy[i] * slope;
    let d_mean = dy[i] * (1.0 - slope);
    let d_slope = dy[i] * (z[i] - mean);
    let d_gate_mean = d_mean * a[c] * gate_mean * (1.0 - gate_mean);
    let d_gate_slope = d_slope * a[5u * n + c] * gate_slope * (1.0 - gate_slope);
    du[i] = d_gate_mean * a[n + c] + d_mean * a[3u * n + c]
        + d_gate_slope * a[6u * n + c] + d_slope * a[8u * n + c];
    let first = i / n * 10u * n + c;
    da[first] = d_mean * gate_mean;
    da[first + n] = d_gate_mean * u[i];
    da[first + 2u * n] = d_gate_mean;
    da[first + 3u * n] = d_mean * u[i];
    da[first + 4u * n] = d_mean;
    da[first + 5u * n] = d_slope * gate_slope;
    da[first + 6u * n] = d_gate_slope * u[i];
    da[first + 7u * n] = d_gate_slope;
    da[first + 8u * n] = d_slope * u[i];
    da[first + 9u * n] = d_slope;
}
