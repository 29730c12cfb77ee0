// The nearest references of every draw and size. See src/kernels/nearest.rs.
//
//   neighbours[q, d, s, 0..K] = the K nearest to q among the first sizes[s] candidates of draw d,
//                               by (distance, index)
//
// One thread per query and draw, sixteen queries side by side; its list lives in private memory.
// Dispatch ⌈⌈Q / LANES⌉ LANES draws / GROUP⌉ work-groups.

struct Dims {
    queries: u32,
    references: u32,
    draws: u32,
    candidates: u32, // per draw
    sizes: u32,
    size: array<vec4<u32>, MAX_SIZES / 4u>,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> distances: array<f32>;
@group(0) @binding(2) var<storage, read> candidates: array<u32>;
@group(0) @binding(3) var<storage, read_write> neighbours: array<u32>;

fn element(i: u32) {
    let draw = i / LANES % dims.draws;
    let query_group = i / LANES / dims.draws;
    let query = query_group * LANES + i % LANES;
    if query >= dims.queries {
        return;
    }
    empty_list();
    var done = 0u;
    for (var s = 0u; s < dims.sizes; s++) {
        let size = dims.size[s / 4u][s % 4u];
        for (; done < size; done++) {
            let candidate = candidates[draw * dims.candidates + done];
            let distance = distances[(query_group * dims.references + candidate) * LANES + i % LANES];
            offer(distance, candidate);
        }
        for (var j = 0u; j < K; j++) {
            neighbours[((query * dims.draws + draw) * dims.sizes + s) * K + j] = indices[j];
        }
    }
}
