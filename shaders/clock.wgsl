// Clock: where training stands. See src/kernels/clock.rs.
//
//   clock [position, step] ← clock + [1, 1]
//
// One thread: dispatch one work-group.

@group(0) @binding(1) var<storage, read_write> clock: array<u32>;

@compute @workgroup_size(1)
fn main() {
    clock[0] += 1u;
    clock[1] += 1u;
}
