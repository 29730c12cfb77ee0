// The K nearest so far, nearest first, the lower index where two are equally near: a thread's own.

var<private> list: array<f32, K>; // their distances
var<private> indices: array<u32, K>;

// Before anything is taken in.
fn empty_list() {
    // WGSL has no constant for infinity: its bits, read from a variable.
    var infinity_bits = 0x7f800000u;
    let infinity = bitcast<f32>(infinity_bits);
    for (var j = 0u; j < K; j++) {
        list[j] = infinity;
        indices[j] = NONE;
    }
}

// Takes in a candidate where not K others are nearer.
fn offer(distance: f32, candidate: u32) {
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

