// Softmax of every row. See src/kernels/softmax.rs.
//
//   y[r, c] = e^(logits[r, c] − largest) / Σ
//
// One thread per row: dispatch ⌈N / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    classes: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// The largest logit of a row.
fn largest_of(row: u32) -> f32 {
    var largest = logits[row * dims.classes];
    for (var c = 1u; c < dims.classes; c++) {
        let y = logits[row * dims.classes + c];
        largest = select(largest, y, y > largest);
    }
    return largest;
}

// Σ e^(y − largest) of a row.
fn sum_of(row: u32, largest: f32) -> f32 {
    var sum = 0.0;
    for (var c = 0u; c < dims.classes; c++) {
        sum += exp(logits[row * dims.classes + c] - largest);
    }
    return sum;
}

fn element(row: u32) {
    if row >= dims.rows {
        return;
    }
    let largest = largest_of(row);
    let sum = sum_of(row, largest);
    for (var c = 0u; c < dims.classes; c++) {
        let i = row * dims.classes + c;
        y[i] = exp(logits[i] - largest) / sum;
    }
}
