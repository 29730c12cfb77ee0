// Max pooling forward. See src/kernels/pool.rs.
//
//   y[o, c] = max over taps of x, argmax[o, c] = the tap      x [N·H·W, C], y [N·OH·OW, C]
//
// One thread per element of y: dispatch ⌈elements of y / GROUP⌉ work-groups.

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> argmax: array<u32>;

// By its bits: compilers may assume that no float is a NaN.
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn element(i: u32) {
    if i >= dims.images * dims.map.x * dims.map.y * dims.channels {
        return;
    }
    let place = i / dims.channels;
    let channel = i % dims.channels;
    var largest = 0.0;
    var at = NOWHERE;
    for (var tap = 0u; tap < dims.kernel.x * dims.kernel.y; tap++) {
        let row = under(place, vec2(tap / dims.kernel.y, tap % dims.kernel.y));
        if row == NOWHERE {
            continue;
        }
        let value = x[row * dims.channels + channel];
        if at == NOWHERE || value > largest || is_nan(value) {
            largest = value;
            at = tap;
        }
    }
    y[i] = largest;
    argmax[i] = at;
}
