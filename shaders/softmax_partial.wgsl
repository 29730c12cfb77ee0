// Softmax cross-entropy, first pass. See src/kernels/softmax.rs.
//
//   partial[b] = Σ −ln p[r, label r], labelled rows, and rows whose largest logit is another's
//
// One work-group per block of ROWS rows, one thread per row; the first thread adds in the order of rows.
// Dispatch ⌈N / ROWS⌉ work-groups.

struct Dims {
    rows: u32,
    classes: u32,
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> partial_sums: array<f32>;

var<workgroup> sums: array<vec3<f32>, ROWS>;

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

@compute @workgroup_size(ROWS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = group.y * groups.x + group.x;
    let row = block * ROWS + local;
    var terms = vec3(0.0);
    if row < dims.rows {
        let label = labels[row];
        if label != UNLABELLED {
            let largest = largest_of(row);
            var first = 0u;
            while first < dims.classes && logits[row * dims.classes + first] != largest {
                first++;
            }
            let wrong = select(1.0, 0.0, first == label);
            let y = logits[row * dims.classes + label];
            terms = vec3(largest - y + log(sum_of(row, largest)), 1.0, wrong);
        }
    }
    sums[local] = terms;
    workgroupBarrier();
    if local == 0u && block * ROWS < dims.rows {
        var sum = vec3(0.0);
        for (var i = 0u; i < ROWS; i++) {
            sum += sums[i];
        }
        for (var i = 0u; i < 3u; i++) {
            partial_sums[3u * block + i] = sum[i];
        }
    }
}
