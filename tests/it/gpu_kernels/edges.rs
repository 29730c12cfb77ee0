//! Where a GPU path goes wrong first: more work-groups than a dimension holds, numbers that are not
//! finite, sizes that no adapter takes, many runs at once.

use std::sync::Arc;

use diabolo::buffer::Element;
use diabolo::device::gpu::{Counters, Gpu};
use diabolo::device::{Device, DeviceError, HostData};
use diabolo::kernels::activation::Forward;
use diabolo::kernels::batch_norm::{self, Moments};
use diabolo::kernels::clock::Advance;
use diabolo::kernels::column_sum::{ColumnSumPartial, blocks};
use diabolo::kernels::gemm::Gemm;
use diabolo::kernels::nearest::{Distances, K, LANES, Nearest};
use diabolo::kernels::{Activation, GROUP, ROWS_PER_BLOCK};
use diabolo::plan::PlanBuilder;

use super::harness::{Case, gpu};
use super::{ACTIVATIONS, EPSILON};

/// WebGPU's limit on work-groups in a dimension.
const MAX_GROUPS: usize = 65_535;

pub fn more_groups_than_a_dimension_holds_are_folded_into_the_next() {
    let Some(adapter) = gpu() else { return };
    // One element per thread, and two groups more than fit.
    let len = MAX_GROUPS * GROUP + GROUP + 1;
    let mut test = Case::new(0);
    let kernel = Forward {
        x: test.real("x", len),
        y: test.output("y", len),
        activation: Activation::Relu,
    };
    test.finish(kernel).compare(&adapter, |_, _, _| 0.0);

    // One block of rows per group, likewise; sums as in these kernels' own tests.
    let rows = MAX_GROUPS * ROWS_PER_BLOCK + ROWS_PER_BLOCK + 1;
    let sum = 4.0 * 32f64.sqrt() * EPSILON * 32.0;
    let mut test = Case::new(1);
    let x = test.real("x", rows).matrix(rows, 1);
    let partial = test.output("partial", blocks(rows));
    test.finish(ColumnSumPartial { x, partial })
        .compare(&adapter, |_, _, _| sum);
    let mut test = Case::new(2);
    let x = test.real("x", rows).matrix(rows, 1);
    let partial = test.output("partial", batch_norm::partial_len(rows, 1));
    test.finish(Moments { x, partial })
        .compare(&adapter, |_, _, _| 4.0 * sum);
}

/// Values at the ends of f32, and beyond.
const EXTREMES: [f32; 8] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    -104.0,
    104.0,
    0.0,
];

pub fn activations_pass_a_nan_through_and_do_not_make_one() {
    let Some(adapter) = gpu() else { return };
    let len = EXTREMES.len();
    for &activation in ACTIVATIONS {
        // Alone, and behind a product by 1.
        let mut alone = Case::new(0);
        let x = alone.real("x", len);
        alone.reals.push((x, EXTREMES.to_vec()));
        let y = alone.output("y", len);
        let alone = (alone.finish(Forward { x, y, activation }), y);
        let mut fused = Case::new(0);
        let [a, b] = [fused.real("a", len), fused.real("b", 1)];
        fused.reals.extend([(a, EXTREMES.to_vec()), (b, vec![1.0])]);
        let y = fused.output("y", len);
        let gemm = Gemm::new(a.matrix(len, 1), b.matrix(1, 1), y.matrix(len, 1));
        let fused = (fused.finish(Gemm { activation, ..gemm }), y);
        for (ready, y) in [alone, fused] {
            let mut gpu = Gpu::new(adapter.shipped.clone(), ready.plan.clone()).expect("loads");
            ready.run(&mut gpu);
            let got = gpu.read_real(y).expect("readable");
            for (x, y) in EXTREMES.into_iter().zip(got) {
                let expected = activation.apply(x);
                // Far out the sigmoid may underflow to 0.
                let close = y == expected || (y - expected).abs() < 1e-37;
                assert!(
                    close || (y.is_nan() && expected.is_nan()),
                    "{activation:?} of {x} is {expected}, not {y}"
                );
            }
        }
    }
}

pub fn an_infinite_distance_is_the_farthest_and_a_nan_is_none() {
    let Some(adapter) = gpu() else { return };
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let row = [3.0, inf, nan, 1.0, f32::MAX, inf, 2.0];
    let mut test = Case::new(0);
    let distances = test.real("distances", Distances::len(1, row.len()));
    // One query, in the first lane of its group.
    let grouped = row.iter().flat_map(|&distance| {
        let mut group = [0.0; LANES];
        group[0] = distance;
        group
    });
    test.reals.push((distances, grouped.collect()));
    let sizes = vec![2, 5, 7];
    let len = Nearest::len(1, [1, sizes.len(), K]);
    let kernel = Nearest {
        queries: 1,
        k: K,
        distances,
        candidates: test.index("candidates", vec![1, 2, 5, 0, 6, 3, 4]),
        draws: 1,
        sizes,
        neighbours: test.guarded("neighbours", Element::Index, len),
    };
    test.finish(kernel).compare(&adapter, |_, _, _| 0.0);
}

pub fn what_no_adapter_takes_is_refused_in_words() {
    let Some(adapter) = gpu() else { return };
    let refused = |plan: PlanBuilder| {
        let plan = Arc::new(plan.finish(u64::MAX).expect("no limit"));
        let loaded = Gpu::new(adapter.shipped.clone(), plan);
        loaded.err().expect("refused")
    };
    let mut plan = PlanBuilder::new();
    plan.persistent("vast", Element::Real, 1 << 50);
    let error = refused(plan);
    assert!(
        matches!(&error, DeviceError::TooLarge { buffer, .. } if buffer == "vast"),
        "{error}"
    );

    let mut plan = PlanBuilder::new();
    let cols = MAX_GROUPS * 64 + 1;
    let a = plan.persistent("a", Element::Real, 1).matrix(1, 1);
    let b = plan.persistent("b", Element::Real, cols).matrix(1, cols);
    let y = plan.persistent("y", Element::Real, cols).matrix(1, cols);
    plan.begin("test");
    plan.launch("wide", Gemm::new(a, b, y));
    let error = refused(plan).to_string();
    assert!(error.contains("wide") && error.contains("65536"), "{error}");
}

pub fn a_product_of_more_rows_than_one_direction_of_groups_covers() {
    let Some(adapter) = gpu() else { return };
    let mut test = Case::new(1);
    let rows = MAX_GROUPS * 64 + 1;
    let a = test.real("a", rows).matrix(rows, 1);
    let b = test.real("b", 1).matrix(1, 1);
    let y = test.output("y", rows).matrix(rows, 1);
    // One rounding of a product below 1.
    test.finish(Gemm::new(a, b, y))
        .compare(&adapter, |_, _, _| f64::from(f32::EPSILON));
}

pub fn many_runs_are_few_submissions_and_create_nothing() {
    let Some(adapter) = gpu() else { return };
    let mut plan = PlanBuilder::new();
    let clock = plan.persistent("clock", Element::Index, 2);
    let routine = plan.begin("tick");
    plan.launch("tick", Advance { clock });
    let plan = Arc::new(plan.finish(u64::MAX).expect("fits"));
    let mut gpu = Gpu::new(adapter.shipped.clone(), plan).expect("loads");
    gpu.run(routine, 1).expect("runs");
    gpu.read_index(clock).expect("readable");
    let before = gpu.counters().expect("a GPU counts");
    gpu.run(routine, 10_000).expect("runs");
    let asked = gpu.counters().expect("a GPU counts") - before;
    assert_eq!(gpu.read_index(clock).expect("readable"), [10_001; 2]);
    let expected = Counters {
        submits: 5,
        passes: 5,
        launches: 10_000,
        dispatches: 10_000,
        ..Counters::default()
    };
    assert_eq!(asked, expected);
}

pub fn a_part_of_a_byte_buffer_is_written_in_whole_words_or_not_at_all() {
    let Some(adapter) = gpu() else { return };
    let mut plan = PlanBuilder::new();
    let bytes = plan.persistent("bytes", Element::Byte, 11);
    let plan = Arc::new(plan.finish(u64::MAX).expect("fits"));
    let mut gpu = Gpu::new(adapter.shipped.clone(), plan).expect("loads");
    let mut put = |start: usize, len: usize| {
        let data = vec![7; len];
        gpu.write(bytes.part(start, len), HostData::Byte(&data))
    };
    put(0, 11).expect("a whole buffer, whatever its length");
    put(4, 4).expect("whole words");
    put(8, 3).expect("up to the end");
    for (start, len) in [(0, 3), (4, 5), (1, 4)] {
        assert!(put(start, len).is_err(), "{len} bytes at {start}");
    }
    put(0, 11).expect("a refusal spoils nothing");
}
