// A list that goes on from one chunk of references to the next: between launches it lies in the shader's
// buffers `nearest` and `neighbours`, both [⌈Q / LANES⌉, K, LANES].

fn list_start(query: u32) -> u32 {
    return query / LANES * K * LANES + query % LANES;
}

// Goes on with a query's list; before the first reference, with an empty one.
fn take_up_list(query: u32, first: u32) {
    empty_list();
    if first > 0u {
        let start = list_start(query);
        for (var j = 0u; j < K; j++) {
            list[j] = nearest[start + j * LANES];
            indices[j] = neighbours[start + j * LANES];
        }
    }
}

// Keeps a query's list for the next chunk.
fn put_down_list(query: u32) {
    let start = list_start(query);
    for (var j = 0u; j < K; j++) {
        nearest[start + j * LANES] = list[j];
        neighbours[start + j * LANES] = indices[j];
    }
}
