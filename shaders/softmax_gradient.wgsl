// Gradient of the softmax cross-entropy. See src/kernels/softmax.rs.
//
//   dy[r, c] = w (p[r, c] − [c = label r]) / L, and 0 in rows without a label
//
// One thread per row: dispatch ⌈N / GROUP⌉ work-groups.

struct Dims {
    rows: u32,
    classes: u32,
    weight: f32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> labelled: array<f32>;
@group(0) @binding(4) var<storage, read_write> dy: array<f32>;

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
    let label = labels[row];
    let scale = dims.weight / labelled[0];
    let largest = largest_of(row);
    let sum = sum_of(row, largest);
    for (var c = 0u; c < dims.classes; c++) {
        let i = row * dims.classes + c;
        let p = exp(logits[i] - largest) / sum;
        let slope = p * scale - select(0.0, scale, c == label);
        dy[i] = select(slope, 0.0, label == UNLABELLED);
    }
}
