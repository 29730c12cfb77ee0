// The nearest references of every draw and size. See src/kernels/nearest.rs.
//
//   neighbours[q, d, s, 0..K] = the K nearest to q among the first sizes[s] candidates of draw d,
//                               by (distance, index)
//
// One thread per query and draw, sixteen queries side by side; its list lives in private memory.

struct Dims {
    queries: u32,
    references: u32,
    draws: u32,
    candidates: u32, // per draw
    sizes: u32,
    size: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> distances: array<f32>;
@group(0) @binding(2) var<storage, read> candidates: array<u32>;
@group(0) @binding(3) var<storage, read_write> neighbours: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + local;
    let draw = i / 16u % dims.draws;
    let query_group = i / 16u / dims.draws;
    let query = query_group * 16u + i % 16u;
    if query >= dims.queries {
        return;
    }
    empty_list();
    var done = 0u;
    for (var s = 0u; s < dims.sizes; s++) {
        let size = dims.size[s / 4u][s % 4u];
        for (; done < size; done++) {
            let candidate = candidates[draw * dims.candidates + done];
            let distance = distances[(query_group * dims.references + candidate) * 16u + i % 16u];
            offer(distance, candidate);
        }
        for (var j = 0u; j < K; j++) {
            neighbours[((query * dims.draws + draw) * dims.sizes + s) * K + j] = indices[j];
        }
    }
}
