// Average pooling forward. See src/kernels/pool.rs.
//
//   y[o, c] = Σ over taps of x / taps      x [N·H·W, C], y [N·OH·OW, C]
//
// One thread per element of y: dispatch ⌈elements of y / GROUP⌉ work-groups.

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn element(i: u32) {
    if i >= dims.images * dims.map.x * dims.map.y * dims.channels {
        return;
    }
    let place = i / dims.channels;
    let channel = i % dims.channels;
    let taps = dims.kernel.x * dims.kernel.y;
    var sum = 0.0;
    for (var tap = 0u; tap < taps; tap++) {
        let row = under(place, vec2(tap / dims.kernel.y, tap % dims.kernel.y));
        if row != NOWHERE {
            sum += x[row * dims.channels + channel];
        }
    }
    y[i] = sum / f32(taps);
}
