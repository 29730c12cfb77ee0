// Divergence of mean activations, first pass. See src/kernels/sparsity.rs.
//
//   partial[b] = Σ_j ρ ln(ρ/ρ̂_j) + (1−ρ) ln((1−ρ)/(1−ρ̂_j))      ρ̂_j = sums[j] / N, blocks of BLOCK units
//
// One work-group per block: dispatch ⌈H / BLOCK⌉ work-groups.

struct Dims {
    len: u32,
    rows: f32,
    target_mean: f32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;

fn elements() -> u32 {
    return dims.len;
}

fn term(j: u32) -> f32 {
    let rho = dims.target_mean;
    let mean = sums[j] / dims.rows;
    return rho * log(rho / mean) + (1.0 - rho) * log((1.0 - rho) / (1.0 - mean));
}
