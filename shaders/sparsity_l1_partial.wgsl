// L1, first pass. See src/kernels/sparsity.rs.
//
//   partial[b] = Σ |h|      over blocks of BLOCK elements
//
// One work-group per block: dispatch ⌈N H / BLOCK⌉ work-groups.

struct Dims {
    len: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;

fn elements() -> u32 {
    return dims.len;
}

fn term(i: u32) -> f32 {
    return abs(h[i]);
}
