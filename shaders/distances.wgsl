// Both distances of a chunk of references. See src/kernels/nearest.rs.
//
//   euclidean[q, first + r] = max(0, |q|² − 2 dots[q, r] + |r|²)
//   cosine[q, first + r]    = 1 − dots[q, r] / (|q| |r|)
//
// One thread per element of dots.

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
@group(0) @binding(4) var<storage, read_write> euclidean: array<f32>;
@group(0) @binding(5) var<storage, read_write> cosine: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    if i >= dims.queries * dims.chunk {
        return;
    }
    let query = i / dims.chunk;
    let reference = i % dims.chunk;
    let dot = dots[i];
    let q = query_norms[query];
    let r = reference_norms[reference];
    let squared = q - (dot + dot) + r;
    let norms = sqrt(q * r);
    let at = query * dims.references + dims.first + reference;
    euclidean[at] = select(squared, 0.0, squared < 0.0);
    var cos = 0.0;
    if norms > 0.0 {
        cos = dot / norms;
    }
    cosine[at] = 1.0 - cos;
}
