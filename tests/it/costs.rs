//! What launches say that they cost, against totals by hand.

use diabolo::buffer::{Access, Cost, Element};
use diabolo::image::ImageShape;
use diabolo::kernels::gemm::Gemm;
use diabolo::kernels::nearest::{
    Distance, Distances, K, Nearest, NearestFiltered, NearestOfAll, RowNorms,
};
use diabolo::kernels::{Kernel, UNUSED};
use diabolo::plan::{Launch, Plan, PlanBuilder};
use diabolo::recipe::{BUILT_IN, Recipe};
use diabolo::train::{DataShape, Program};

/// The launches of a recipe's training step.
fn step(name: &str) -> (Plan, Vec<Launch>) {
    let recipe = Recipe::load(name).expect("built in");
    let image = recipe.data.image().expect("the recipe says it");
    let shape = DataShape {
        train: 3 * recipe.train.batch,
        held_out: 1,
        image,
        classes: 10,
    };
    let program = Program::new(&recipe, shape, u64::MAX).expect("fits");
    let launches = program.plan.launches(program.train).to_vec();
    ((*program.plan).clone(), launches)
}

/// 2·m·k·n of all matrix products.
fn products(launches: &[Launch]) -> u64 {
    let products = launches.iter().filter_map(|launch| launch.kernel.product());
    products.map(|[m, k, n]| 2 * (m * k * n) as u64).sum()
}

const BATCH: u64 = 128;

#[test]
fn a_dense_step_multiplies_three_times_by_every_weight_but_twice_by_the_first() {
    let weights = 2 * (784 * 512 + 512 * 256 + 256 * 64);
    let expected = BATCH * (6 * weights - 2 * 784 * 512);
    assert_eq!(products(&step("reference-dense").1), expected);
}

#[test]
fn a_convolutional_step_multiplies_at_every_position_of_the_map() {
    let first = 14 * 14 * (3 * 3) * 32;
    let multiplications = 2 * (first + 7 * 7 * (3 * 3 * 32) * 64 + (7 * 7 * 64) * 64);
    let expected = BATCH * (6 * multiplications - 2 * first);
    assert_eq!(products(&step("reference-conv").1), expected);
}

#[test]
fn a_product_costs_its_multiply_adds_and_an_epilogue() {
    let mut seen = 0;
    for (name, _) in BUILT_IN {
        for launch in step(name).1 {
            let Some([m, k, n]) = launch.kernel.product() else {
                continue;
            };
            seen += 1;
            let epilogue = launch.kernel.cost().flops - 2 * (m * k * n) as u64;
            let written = launch.kernel.operands();
            let written = written.iter().find(|operand| operand.is_written());
            let elements = written.expect("the product").view.len as u64;
            // A bias is one operation an element; the activations at hand at most six.
            assert_eq!(epilogue % elements, 0, "{name}, {}", launch.label);
            assert!(epilogue <= 7 * elements, "{name}, {}", launch.label);
            let has_bias = launch
                .kernel
                .downcast()
                .is_some_and(|gemm: &Gemm| gemm.bias.is_some());
            assert!(epilogue > 0 || !has_bias, "{name}, {}", launch.label);
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn adam_reads_four_arrays_and_writes_three() {
    let (_, launches) = step("reference-dense");
    let weights = 2 * (784 * 512 + 512 * 256 + 256 * 64);
    let normed = 2 * 2 * (512 + 256) + 2 * 64; // γ and β, behind all but the last layer
    let adam = launches
        .iter()
        .find(|launch| launch.kernel.name() == "adam");
    let cost = adam.expect("there is one").kernel.cost();
    let count = cost.flops / 13;
    // Tensors begin at multiples of 64: every width here is one, and the last bias.
    assert_eq!(
        count.next_multiple_of(64),
        (weights + normed + 784u64).next_multiple_of(64)
    );
    let (row, clock) = (3 * 4, 2 * 4);
    assert_eq!(cost.read, 4 * 4 * count + row + clock);
    assert_eq!(cost.written, 3 * 4 * count);
}

#[test]
fn gathering_reads_bytes_and_writes_reals_twice() {
    let (_, launches) = step("reference-dense");
    let cost = launches[0].kernel.cost();
    let pixels = BATCH * 784;
    assert_eq!(cost.read, pixels + 4 * BATCH + 2 * 4); // and the order and the clock
    assert_eq!(cost.written, 2 * 4 * pixels); // clean and noisy
}

#[test]
fn no_launch_costs_more_bytes_than_its_operands_have() {
    for (name, _) in BUILT_IN {
        let (plan, launches) = step(name);
        for launch in launches {
            let cost = launch.kernel.cost();
            let operands = launch.kernel.operands();
            let bytes = |touched: fn(Access) -> bool| -> u64 {
                let touched = operands
                    .iter()
                    .filter(|operand| operand.name != UNUSED && touched(operand.access));
                let sizes = touched.map(|operand| {
                    operand.view.len as u64 * plan.buffer(operand.view).element.bytes()
                });
                sizes.sum()
            };
            let whole = bytes(|access| access == Access::Write);
            let most = bytes(|access| access != Access::Read);
            let label = format!("{name}, {}", launch.label);
            assert!((whole..=most).contains(&cost.written), "{label}: {cost:?}");
            assert!(
                cost.read <= bytes(|access| access != Access::Write),
                "{label}: {cost:?}"
            );
            assert!(cost.bytes() > 0, "{label}");
        }
    }
}

#[test]
fn a_search_costs_its_product_its_distances_and_a_look_at_each_candidate() {
    let (queries, references, width, chunk) = (10, 40, 7, 25);
    let (draws, size) = (3, 12);
    let mut plan = PlanBuilder::new();
    let mut matrix = |name: &str, rows: usize, cols: usize| {
        plan.persistent(name, Element::Real, rows * cols)
            .matrix(rows, cols)
    };
    let query = matrix("queries", queries, width);
    let reference = matrix("references", chunk, width);
    let dots = matrix("dots", chunk, queries);
    let kept = matrix("distances", Distances::len(queries, references), 1).view;
    let nearest = matrix("nearest", NearestOfAll::len(queries, K), 1).view;
    let query_norms = matrix("query norms", queries, 1).view;
    let reference_norms = matrix("reference norms", chunk, 1).view;
    let candidates = plan.persistent("candidates", Element::Index, draws * size);
    let neighbours = plan.persistent(
        "neighbours",
        Element::Index,
        Nearest::len(queries, [draws, 1, K]),
    );
    let of_all = plan.persistent("nearest", Element::Index, NearestOfAll::len(queries, K));

    let [q, r, w] = [queries, chunk, width].map(|count| count as u64);
    let norms = RowNorms {
        x: query,
        norms: query_norms,
    };
    let expected = Cost {
        flops: 2 * q * w,
        read: 4 * q * w,
        written: 4 * q,
    };
    assert_eq!(norms.cost(), expected);

    let product = Gemm::new(reference, query, dots).transpose_b();
    let expected = Cost {
        flops: 2 * q * r * w,
        read: 4 * (q * w + r * w),
        written: 4 * q * r,
    };
    assert_eq!(product.cost(), expected);

    let distances = Distances {
        distance: Distance::Euclidean,
        dots,
        query_norms,
        reference_norms,
        distances: kept,
        first: 0,
    };
    // Double, subtract, add, compare. Only the chunk's are written.
    let expected = Cost {
        flops: 4 * q * r,
        read: 4 * (q * r + q + r),
        written: 4 * q * r,
    };
    assert_eq!(distances.cost(), expected);

    let filtered = NearestFiltered {
        of_all: NearestOfAll {
            distance: Distance::Euclidean,
            k: K,
            dots,
            query_norms,
            reference_norms,
            first: 0,
            nearest,
            neighbours: of_all,
        },
        queries: query,
        references: reference,
    };
    // As without bounds, and products to fill the lists with, at least.
    let lists = 2 * nearest.len as u64;
    let expected = Cost {
        flops: 5 * q * r + 2 * q * K as u64 * w,
        read: 4 * (q * r + q * w + r * w + q + r),
        written: 4 * lists,
    };
    assert_eq!(filtered.cost(), expected);

    let of_all = NearestOfAll {
        distance: Distance::Cosine,
        k: K,
        dots,
        query_norms,
        reference_norms,
        first: chunk,
        nearest,
        neighbours: of_all,
    };
    // Multiply, root, divide, subtract, and a comparison. Lists so far are read and written.
    let expected = Cost {
        flops: 5 * q * r,
        read: 4 * (q * r + q + r + lists),
        written: 4 * lists,
    };
    assert_eq!(of_all.cost(), expected);

    let nearest = Nearest {
        queries,
        k: K,
        distances: kept,
        candidates,
        draws,
        sizes: vec![size],
        neighbours,
    };
    let looked_at = (draws * size) as u64; // fewer than the 40 there are
    let expected = Cost {
        flops: q * looked_at,
        read: 4 * (q * looked_at + looked_at),
        written: 4 * neighbours.len as u64,
    };
    assert_eq!(nearest.cost(), expected);
}

#[test]
fn an_image_of_many_channels_counts_each() {
    let shape = |channels| ImageShape {
        height: 8,
        width: 8,
        channels,
    };
    let recipe = Recipe::load("reference-dense").expect("built in");
    let flops = |channels| {
        let shape = DataShape {
            train: recipe.train.batch,
            held_out: 1,
            image: shape(channels),
            classes: 10,
        };
        let program = Program::new(&recipe, shape, u64::MAX).expect("fits");
        products(program.plan.launches(program.train))
    };
    // First and last layer: 64 more inputs cost 2 + 3 products with 512 units.
    assert_eq!(flops(2) - flops(1), BATCH * 2 * (2 + 3) * 64 * 512);
}
