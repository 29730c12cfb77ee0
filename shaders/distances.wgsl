// Distances of a chunk of references. See src/kernels/nearest.rs.
//
//   distances[q / 16, first + r, q % 16] = distance of dots[r, q]
//
// One thread per distance.

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

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    let padded = (dims.queries + 15u) / 16u * 16u;
    if i >= padded * dims.chunk {
        return;
    }
    let query = i % padded;
    let reference = i / padded;
    // Beyond the last query, this once more.
    let q = min(query, dims.queries - 1u);
    let at = (query / 16u * dims.references + dims.first + reference) * 16u + query % 16u;
    let dot = dots[reference * dims.queries + q];
    distances[at] = distance_from(dot, query_norms[q], reference_norms[reference]);
}
