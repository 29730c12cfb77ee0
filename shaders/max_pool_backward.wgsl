// Max pooling backward. See src/kernels/pool.rs.
//
//   dx[i, c] = Σ dy[o, c] over the windows o whose argmax lies on i
//   dx [N·H·W, C], dy and argmax [N·OH·OW, C]
//
// One thread per element of dx: dispatch ⌈elements of dx / GROUP⌉ work-groups.

@group(0) @binding(1) var<storage, read> argmax: array<u32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

fn element(i: u32) {
    if i >= dims.images * dims.size.x * dims.size.y * dims.channels {
        return;
    }
    let position = i / dims.channels;
    let channel = i % dims.channels;
    var sum = 0.0;
    for (var tap = 0u; tap < dims.kernel.x * dims.kernel.y; tap++) {
        let place = seeing(position, vec2(tap / dims.kernel.y, tap % dims.kernel.y));
        if place != NOWHERE && argmax[place * dims.channels + channel] == tap {
            sum += dy[place * dims.channels + channel];
        }
    }
    dx[i] = sum;
}
