// Convolution's data gradient, which is transposed convolution's forward:
// dx = f(patchesᵀ(dy · weightᵀ) + bias). See src/kernels/convolution.rs.
//
//   dy [N·OH·OW, M], weight [KH·KW·C, M], bias [C], dx [N·H·W, C]
//
// Positions of dx that agree modulo the stride are reached by the same taps, and by those only. Each
// such phase is a product of its own, without a wasted tap: its rows are the positions, its depth
// the taps that reach them times the channels of dy.
// Dispatch ⌈C / TILE⌉ × (⌈rows of the largest phase / TILE⌉ · phases) work-groups, what is more than a
// dimension holds folded into z.

const BIAS: bool = false;

@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

// This work-group's phase: in each direction its first tap and the distance to the next, how many
// taps it has, its first position, and how many positions.
var<private> first_tap: vec2<u32>;
var<private> tap_step: vec2<u32>;
var<private> taps: vec2<u32>;
var<private> first_position: vec2<u32>;
var<private> positions: vec2<u32>;

// Image and position, of dx, of a row of this phase.
fn position(row: u32) -> vec3<u32> {
    let area = positions.x * positions.y;
    let inside = row % area;
    let at = vec2(inside / positions.y, inside % positions.y);
    return vec3(row / area, first_position + at * dims.stride);
}

// The tap that depth stands for.
fn tap_of(depth: u32) -> vec2<u32> {
    let tap = depth / dims.maps;
    return first_tap + vec2(tap / taps.y, tap % taps.y) * tap_step;
}

fn left(row: u32, depth: u32) -> f32 {
    let at = position(row);
    // A multiple of the stride, which is what makes it this phase; wraps around if negative.
    let reach = at.yz + dims.padding - tap_of(depth) * dims.dilation;
    let source = reach / dims.stride;
    if any(source >= dims.map) {
        return 0.0;
    }
    let place = (at.x * dims.map.x + source.x) * dims.map.y + source.y;
    return dy[place * dims.maps + depth % dims.maps];
}

fn right(depth: u32, col: u32) -> f32 {
    let tap = tap_of(depth);
    let line = (tap.x * dims.kernel.y + tap.y) * dims.channels + col;
    return weight[line * dims.maps + depth % dims.maps];
}

fn store(row: u32, col: u32, product: f32) {
    let at = position(row);
    var value = product;
    if BIAS {
        value += bias[col];
    }
    dx[((at.x * dims.size.x + at.y) * dims.size.y + at.z) * dims.channels + col] = activate(value);
}

fn divisor(a: u32, b: u32) -> u32 {
    var x = a;
    var y = b;
    while y != 0u {
        let rest = x % y;
        x = y;
        y = rest;
    }
    return x;
}

// In one direction: first tap, distance to the next and number of taps t with
// t · dilation ≡ phase (mod stride).
fn taps_of(phase: u32, stride: u32, dilation: u32, kernel: u32) -> vec3<u32> {
    let step = stride / divisor(stride, dilation);
    var tap = 0u;
    while tap < min(step, kernel) && (tap * dilation) % stride != phase {
        tap++;
    }
    if tap >= min(step, kernel) {
        return vec3(0u, step, 0u);
    }
    return vec3(tap, step, (kernel - tap + step - 1u) / step);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    // Work-groups are given out for the largest phase.
    let largest = (dims.size + dims.stride - 1u) / dims.stride;
    let tiles = (dims.images * largest.x * largest.y + TILE - 1u) / TILE;
    let index = group.z * groups.y + group.y;
    let phase = vec2(index / tiles / dims.stride.y, index / tiles % dims.stride.y);
    if phase.x >= dims.stride.x {
        return;
    }
    let down = taps_of(phase.x, dims.stride.x, dims.dilation.x, dims.kernel.x);
    let across = taps_of(phase.y, dims.stride.y, dims.dilation.y, dims.kernel.y);
    // Position h has phase (h + padding) mod stride.
    let first = (phase + dims.stride - dims.padding % dims.stride) % dims.stride;
    if any(first >= dims.size) {
        return;
    }
    // What bounds `multiply`'s loop is computed from locals: to a compiler that wants proof that all
    // threads meet at its barriers, private variables differ from thread to thread.
    let count = (dims.size - first + dims.stride - 1u) / dims.stride;
    let rows = dims.images * count.x * count.y;
    let depth = down.z * across.z * dims.maps;
    first_tap = vec2(down.x, across.x);
    tap_step = vec2(down.y, across.y);
    taps = vec2(down.z, across.z);
    first_position = first;
    positions = count;
    multiply(rows, dims.channels, index % tiles * TILE, group.x * TILE, 0u, depth, thread);
}
