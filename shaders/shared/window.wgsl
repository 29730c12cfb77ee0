// How a window slides over images: shared by convolution and pooling. A shader that uses it is this
// file followed by its own. See src/kernels/window.rs.

struct Dims {
    images: u32,
    channels: u32, // of the larger side
    maps: u32, // channels of the smaller side
    blocks: u32, // into which a sum over rows is cut
    size: vec2<u32>, // rows and columns of the larger side
    map: vec2<u32>, // and of the smaller
    kernel: vec2<u32>,
    stride: vec2<u32>,
    padding: vec2<u32>,
    dilation: vec2<u32>,
}

@group(0) @binding(0) var<uniform> dims: Dims;

// The row [images · size] that tap `tap` of the window at row `place` of [images · map] falls on,
// or NOWHERE where that is padding.
const NOWHERE: u32 = 0xffffffffu;

fn under(place: u32, tap: vec2<u32>) -> u32 {
    let area = dims.map.x * dims.map.y;
    let inside = place % area;
    let at = vec2(inside / dims.map.y, inside % dims.map.y) * dims.stride + tap * dims.dilation;
    let there = at - dims.padding; // wraps around where it is negative
    if any(there >= dims.size) {
        return NOWHERE;
    }
    return (place / area * dims.size.x + there.x) * dims.size.y + there.y;
}

// The row [images · map] of the window whose tap `tap` falls on row `position` of [images · size],
// or NOWHERE if there is none.
fn seeing(position: u32, tap: vec2<u32>) -> u32 {
    let area = dims.size.x * dims.size.y;
    let inside = position % area;
    let at = vec2(inside / dims.size.y, inside % dims.size.y);
    let reach = at + dims.padding - tap * dims.dilation; // wraps around where it is negative
    let place = reach / dims.stride;
    if any(at + dims.padding < tap * dims.dilation)
        || any(place * dims.stride != reach)
        || any(place >= dims.map)
    {
        return NOWHERE;
    }
    return (position / area * dims.map.x + place.x) * dims.map.y + place.y;
}

