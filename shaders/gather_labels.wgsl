// Labels of a batch, by index. See src/kernels/softmax.rs.
//
//   batch[r] = labels[order[position·R + r]]
//
// One thread per row: dispatch ⌈R / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> clock: array<u32>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> batch: array<u32>;

fn element(row: u32) {
    if row < dims.rows {
        batch[row] = labels[order[clock[0] * dims.rows + row]];
    }
}
