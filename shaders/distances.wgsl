// Distances of a chunk of references. See src/kernels/nearest.rs.
//
//   distances[q / LANES, first + r, q % LANES] = distance of dots[r, q]
//
// One thread per distance: dispatch ⌈⌈Q / LANES⌉ LANES chunk / GROUP⌉ work-groups.

struct Dims {
    queries: u32,
    chunk: u32,
    references: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> dots: array<f32>;
@group(0) @binding(2) var<storage, read> query_norms: array<f32>;
@group(0) @binding(3) var<storage, read> reference_norms: array<f32>;
@group(0) @binding(4) var<storage, read_write> distances: array<f32>;

fn element(i: u32) {
    let padded = (dims.queries + LANES - 1u) / LANES * LANES;
    if i >= padded * dims.chunk {
        return;
    }
    let query = i % padded;
    let reference = i / padded;
    // Beyond the last query, this once more.
    let q = min(query, dims.queries - 1u);
    let at = (query / LANES * dims.references + dims.first + reference) * LANES + query % LANES;
    let dot = dots[reference * dims.queries + q];
    distances[at] = distance_from(dot, query_norms[q], reference_norms[reference]);
}
