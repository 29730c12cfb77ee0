// Gradient of the divergence of mean activations. See src/kernels/sparsity.rs.
//
//   dh[r, j] = w ((1−ρ)/(1−ρ̂_j) − ρ/ρ̂_j) / N      ρ̂_j = sums[j] / N
//
// One thread per element: dispatch ⌈N H / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    cols: u32,
    target_mean: f32,
    weight: f32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> dh: array<f32>;

fn element(i: u32) {
    if i >= dims.rows * dims.cols {
        return;
    }
    let rows = f32(dims.rows);
    let mean = sums[i % dims.cols] / rows;
    let slope = (1.0 - dims.target_mean) / (1.0 - mean) - dims.target_mean / mean;
    dh[i] = dims.weight / rows * slope;
}
