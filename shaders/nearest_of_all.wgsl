// The nearest of all references, of which a chunk is taken in. See src/kernels/nearest.rs.
//
//   neighbours[q / 16, 0..K, q % 16] = the K nearest to q among the references up to this chunk,
//                                      by (distance, index); nearest likewise their distances
//
// One thread per query; its list lives in private memory meanwhile.

struct Dims {
    queries: u32,
    chunk: u32,
    first: u32,
}

const K: u32 = 16u;
const NONE: u32 = 0xffffffffu;

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> dots: array<f32>;
@group(0) @binding(2) var<storage, read> query_norms: array<f32>;
@group(0) @binding(3) var<storage, read> reference_norms: array<f32>;
@group(0) @binding(4) var<storage, read_write> nearest: array<f32>;
@group(0) @binding(5) var<storage, read_write> neighbours: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let query = (group.y * groups.x + group.x) * 64u + local;
    if query >= (dims.queries + 15u) / 16u * 16u {
        return;
    }
    // Beyond the last query, this once more.
    let q = min(query, dims.queries - 1u);
    let start = query / 16u * K * 16u + query % 16u;
    // WGSL has no constant for infinity: its bits, read from a variable.
    var infinity_bits = 0x7f800000u;
    let infinity = bitcast<f32>(infinity_bits);
    var list: array<f32, K>;
    var indices: array<u32, K>;
    for (var j = 0u; j < K; j++) {
        list[j] = infinity;
        indices[j] = NONE;
        if dims.first > 0u {
            list[j] = nearest[start + j * 16u];
            indices[j] = neighbours[start + j * 16u];
        }
    }
    for (var r = 0u; r < dims.chunk; r++) {
        let candidate = dims.first + r;
        let dot = dots[r * dims.queries + q];
        let distance = distance_from(dot, query_norms[q], reference_norms[r]);
        // Insertion from the far end; every comparison with a NaN fails, so none gets in.
        var place = K;
        while place > 0u && (distance < list[place - 1u]
            || (distance == list[place - 1u] && candidate < indices[place - 1u])) {
            if place < K {
                list[place] = list[place - 1u];
                indices[place] = indices[place - 1u];
            }
            place--;
        }
        if place < K {
            list[place] = distance;
            indices[place] = candidate;
        }
    }
    for (var j = 0u; j < K; j++) {
        nearest[start + j * 16u] = list[j];
        neighbours[start + j * 16u] = indices[j];
    }
}
