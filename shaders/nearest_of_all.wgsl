// The nearest of all references, of which a chunk is taken in. See src/kernels/nearest.rs.
//
//   neighbours[q / LANES, 0..K, q % LANES] = the K nearest to q among the references up to this chunk,
//                                      by (distance, index); nearest likewise their distances
//
// One thread per query; its list lives in private memory meanwhile.
// Dispatch ⌈⌈Q / LANES⌉ LANES / GROUP⌉ work-groups.

struct Dims {
    queries: u32,
    chunk: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> dots: array<f32>;
@group(0) @binding(2) var<storage, read> query_norms: array<f32>;
@group(0) @binding(3) var<storage, read> reference_norms: array<f32>;
@group(0) @binding(4) var<storage, read_write> nearest: array<f32>;
@group(0) @binding(5) var<storage, read_write> neighbours: array<u32>;

fn element(query: u32) {
    if query >= (dims.queries + LANES - 1u) / LANES * LANES {
        return;
    }
    // Beyond the last query, this once more.
    let q = min(query, dims.queries - 1u);
    take_up_list(query, dims.first);
    for (var r = 0u; r < dims.chunk; r++) {
        let candidate = dims.first + r;
        let dot = dots[r * dims.queries + q];
        let distance = distance_from(dot, query_norms[q], reference_norms[r]);
        offer(distance, candidate);
    }
    put_down_list(query);
}
