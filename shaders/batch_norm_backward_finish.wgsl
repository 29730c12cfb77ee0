// Batch norm backward, second pass. See src/kernels/batch_norm.rs.
//
//   dβ[c] = Σ_b partial[b, 0, c],  dγ[c] = Σ_b partial[b, 1, c]
//
// One thread per column: dispatch ⌈C / GROUP⌉ work-groups.

struct Dims {
    blocks: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> d_gamma: array<f32>;
@group(0) @binding(3) var<storage, read_write> d_beta: array<f32>;

fn element(col: u32) {
    if col >= dims.cols {
        return;
    }
    var sum_g = 0.0;
    var sum_gx = 0.0;
    for (var block = 0u; block < dims.blocks; block++) {
        sum_g += sums[2u * block * dims.cols + col];
        sum_gx += sums[(2u * block + 1u) * dims.cols + col];
    }
    d_beta[col] = sum_g;
    d_gamma[col] = sum_gx;
}
