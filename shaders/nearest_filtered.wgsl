// The nearest of all references, of which a chunk is taken in; only those are multiplied out that the
// bounds of their dot products let through. See src/kernels/nearest/filter.rs.
//
//   neighbours[q / LANES, 0..K, q % LANES] = the K nearest to q among the references up to this chunk,
//                                      by (distance, index); nearest likewise their distances
//
// One thread per query; its list lives in private memory meanwhile.
// Dispatch ⌈⌈Q / LANES⌉ LANES / GROUP⌉ work-groups.

struct Dims {
    queries: u32,
    chunk: u32,
    width: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> bounds: array<f32>;
@group(0) @binding(2) var<storage, read> queries: array<f32>;
@group(0) @binding(3) var<storage, read> references: array<f32>;
@group(0) @binding(4) var<storage, read> query_norms: array<f32>;
@group(0) @binding(5) var<storage, read> reference_norms: array<f32>;
@group(0) @binding(6) var<storage, read_write> nearest: array<f32>;
@group(0) @binding(7) var<storage, read_write> neighbours: array<u32>;

fn element(query: u32) {
    if query >= (dims.queries + LANES - 1u) / LANES * LANES {
        return;
    }
    // Beyond the last query, this once more.
    let q = min(query, dims.queries - 1u);
    take_up_list(query, dims.first);
    for (var r = 0u; r < dims.chunk; r++) {
        let norm = reference_norms[r];
        if distance_from(bounds[r * dims.queries + q], query_norms[q], norm) > list[K - 1u] {
            continue;
        }
        var dot = 0.0;
        for (var i = 0u; i < dims.width; i++) {
            dot += references[r * dims.width + i] * queries[q * dims.width + i];
        }
        offer(distance_from(dot, query_norms[q], norm), dims.first + r);
    }
    put_down_list(query);
}
