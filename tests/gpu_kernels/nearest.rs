//! Distances and nearest neighbours.

use diabolo::buffer::Element;
use diabolo::device::Device;
use diabolo::device::cpu::Cpu;
use diabolo::kernels::nearest::{
    Distance, Distances, K, LANES, Nearest, NearestFiltered, NearestOfAll, Residuals, RowNorms,
};
use rand::RngExt;

use crate::harness::{Case, gpu};
use crate::{EPSILON, SIZES};

#[test]
fn norms_and_distances() {
    let Some(adapter) = gpu() else { return };
    for rows in SIZES {
        for cols in SIZES {
            let mut test = Case::new(rows + cols);
            let x = test.real("x", rows * cols).matrix(rows, cols);
            let norms = test.output("norms", rows);
            let bound = 4.0 * (cols as f64).sqrt() * EPSILON * cols as f64;
            test.finish(RowNorms { x, norms })
                .compare(&adapter, |_, _, _| bound);

            // `rows` references, `cols` queries.
            for distance in Distance::ALL {
                let mut test = Case::new(rows + cols);
                let (references, first) = (rows + 7, 3);
                let kernel = Distances {
                    distance,
                    dots: test.real("dots", rows * cols).matrix(rows, cols),
                    query_norms: test.uniform("query norms", cols, 0.5..2.0),
                    reference_norms: test.uniform("reference norms", rows, 0.5..2.0),
                    distances: test.real("distances", Distances::len(cols, references)),
                    first,
                };
                test.finish(kernel).compare(&adapter, |_, i, _| {
                    let written = (first..first + rows).contains(&(i / LANES % references));
                    // Roundings of numbers below 6; sqrt and division to 2.5 ulps each.
                    if written { 16.0 * 6.0 * EPSILON } else { 0.0 }
                });
            }
        }
    }
}

#[test]
fn the_nearest_of_all_agree_exactly_whether_lists_begin_or_go_on() {
    let Some(adapter) = gpu() else { return };
    for (queries, chunk) in [(1, 1), (5, 9), (16, 31), (33, 129), (70, 300)] {
        for (distance, first, k) in [
            (Distance::Euclidean, 0, K),
            (Distance::Euclidean, 40, 5),
            (Distance::Cosine, 0, 1),
        ] {
            let mut test = Case::new(queries + chunk);
            let mut multiples = |name: &str, len: usize, range: std::ops::Range<i32>| {
                let view = test.guarded(name, Element::Real, len);
                // Few and exact in every precision: many ties. Of unit vectors, so cosines are too.
                let values = (0..len).map(|_| test.rng.random_range(range.clone()) as f32 / 8.0);
                let values = values.collect();
                test.reals.push((view, values));
                view
            };
            let dots = multiples("dots", queries * chunk, -8..9).matrix(chunk, queries);
            let query_norms = multiples("query norms", queries, 8..9);
            let reference_norms = multiples("reference norms", chunk, 8..9);
            let len = NearestOfAll::len(queries, k);
            // Lists that are full of ties with what comes, in order.
            let so_far = multiples("nearest", len, 4..5);
            let places = (0..len).map(|at| (at / LANES % k) as u32).collect();
            let kernel = NearestOfAll {
                distance,
                k,
                dots,
                query_norms,
                reference_norms,
                first,
                nearest: so_far,
                neighbours: test.index("neighbours", places),
            };
            test.finish(kernel).compare(&adapter, |_, _, _| 0.0);
        }
    }
}

#[test]
fn nearest_neighbours_agree_exactly_ties_and_all() {
    let Some(adapter) = gpu() else { return };
    for (queries, references, draws, sizes) in [
        (1, 1, 1, vec![1]),
        (3, 31, 2, vec![5, 31]),
        (33, 129, 7, vec![1, 2, 17, 64, 129]),
        (65, 300, 3, vec![10, 20, 30, 40, 50, 60, 70, 300]),
    ] {
        let mut test = Case::new(queries);
        let longest = *sizes.last().expect("not empty");
        // Few distinct distances: many ties.
        let distances: Vec<f32> = (0..queries * references)
            .map(|_| test.rng.random_range(0..20) as f32 / 8.0)
            .collect();
        let view = test.guarded(
            "distances",
            Element::Real,
            Distances::len(queries, references),
        );
        let mut grouped = vec![0.0; view.len];
        for (i, &distance) in distances.iter().enumerate() {
            let (query, reference) = (i / references, i % references);
            grouped[(query / LANES * references + reference) * LANES + query % LANES] = distance;
        }
        test.reals.push((view, grouped));
        let mut candidates = Vec::new();
        for _ in 0..draws {
            let mut all: Vec<u32> = (0..references as u32).collect();
            rand::seq::SliceRandom::shuffle(&mut all[..], &mut test.rng);
            candidates.extend_from_slice(&all[..longest]);
        }
        let len = Nearest::len(queries, [draws, sizes.len(), K]);
        let kernel = Nearest {
            queries,
            k: K,
            distances: view,
            candidates: test.index("candidates", candidates.clone()),
            draws,
            sizes: sizes.clone(),
            neighbours: test.guarded("neighbours", Element::Index, len),
        };
        let neighbours = kernel.neighbours;
        let ready = test.finish(kernel);
        ready.compare(&adapter, |_, _, _| 0.0);

        // And both are right: a plain sort says the same.
        let mut cpu = Cpu::<f32>::new(ready.plan.clone(), Cpu::<f32>::team(1).expect("a thread"));
        ready.run(&mut cpu);
        let got = cpu.read_index(neighbours).expect("readable");
        let mut lists = got.chunks_exact(K);
        for query in distances.chunks_exact(references) {
            for draw in candidates.chunks_exact(longest) {
                for &size in &sizes {
                    let mut expected = draw[..size].to_vec();
                    expected.sort_by(|&a, &b| {
                        let of = |i: u32| query[i as usize];
                        of(a).total_cmp(&of(b)).then(a.cmp(&b))
                    });
                    expected.resize(K, u32::MAX);
                    assert_eq!(
                        lists.next().expect("one per query, draw and size"),
                        expected
                    );
                }
            }
        }
    }
}

#[test]
fn residuals_of_sketches() {
    let Some(adapter) = gpu() else { return };
    for rows in SIZES {
        for cols in SIZES {
            let mut test = Case::new(rows + cols);
            let kernel = Residuals {
                sketches: test.real("sketches", rows * cols).matrix(rows, cols),
                // More than what is inside, as it should be, and less.
                norms: test.uniform("norms", rows, 0.0..2.0 * cols as f32),
                width: 784,
            };
            // |√a − √b| ≤ |a − b| / √a
            test.finish(kernel).compare(&adapter, |_, _, expected| {
                let square = 4.0 * (cols as f64 + 4.0) * cols as f64 * EPSILON;
                square.sqrt().min(square / expected) + 4.0 * EPSILON * expected
            });
        }
    }
}

#[test]
fn the_nearest_that_bounds_let_through_agree_exactly() {
    let Some(adapter) = gpu() else { return };
    for (queries, chunk, width) in [
        (1, 1, 1),
        (5, 9, 3),
        (16, 31, 8),
        (33, 129, 5),
        (70, 300, 9),
    ] {
        for (distance, first, k) in [
            (Distance::Euclidean, 0, K),
            (Distance::Euclidean, 40, 5),
            (Distance::Cosine, 0, 3),
        ] {
            let mut test = Case::new(queries + chunk);
            let mut multiples = |len: usize, range: std::ops::Range<i32>| -> Vec<f32> {
                let values = (0..len).map(|_| test.rng.random_range(range.clone()) as f32 / 8.0);
                values.collect()
            };
            let vectors = [queries, chunk].map(|rows| multiples(rows * width, -2..3));
            // Dots and up to a half more: bounds let some through that come in, and some that do not.
            let mut bounds = multiples(queries * chunk, 0..5);
            for (index, bound) in bounds.iter_mut().enumerate() {
                let [q, r] = [index % queries, index / queries];
                let pairs = vectors[0][q * width..].iter().zip(&vectors[1][r * width..]);
                *bound += pairs.take(width).map(|(q, r)| q * r).sum::<f32>();
            }
            let len = NearestOfAll::len(queries, k);
            let [so_far, ones, more_ones] = [(len, 4..5), (queries, 8..9), (chunk, 8..9)]
                .map(|(len, range)| multiples(len, range));
            let mut given = |name: &str, values: Vec<f32>| {
                let view = test.guarded(name, Element::Real, values.len());
                test.reals.push((view, values));
                view
            };
            let bounds = given("bounds", bounds).matrix(chunk, queries);
            let [q, r] = vectors.map(|values| given("vectors", values));
            let query_norms = given("query norms", ones);
            let reference_norms = given("reference norms", more_ones);
            let nearest = given("nearest", so_far);
            let places = (0..nearest.len).map(|at| (at / LANES % k) as u32).collect();
            let kernel = NearestFiltered {
                of_all: NearestOfAll {
                    distance,
                    k,
                    dots: bounds,
                    query_norms,
                    reference_norms,
                    first,
                    nearest,
                    neighbours: test.index("neighbours", places),
                },
                queries: q.matrix(queries, width),
                references: r.matrix(chunk, width),
            };
            test.finish(kernel).compare(&adapter, |_, _, _| 0.0);
        }
    }
}
