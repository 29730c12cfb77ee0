// Average pooling backward. See src/kernels/pool.rs.
//
//   dx[i, c] = Σ dy[o, c] / taps over the windows o that see i      dx [N·H·W, C], dy [N·OH·OW, C]
//
// One thread per element of dx: dispatch ⌈elements of dx / GROUP⌉ work-groups.

@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

fn element(i: u32) {
    if i >= dims.images * dims.size.x * dims.size.y * dims.channels {
        return;
    }
    let position = i / dims.channels;
    let channel = i % dims.channels;
    let taps = dims.kernel.x * dims.kernel.y;
    var sum = 0.0;
    for (var tap = 0u; tap < taps; tap++) {
        let place = seeing(position, vec2(tap / dims.kernel.y, tap % dims.kernel.y));
        if place != NOWHERE {
            sum += dy[place * dims.channels + channel];
        }
    }
    dx[i] = sum / f32(taps);
}
