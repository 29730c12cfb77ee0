//! Distances and nearest neighbours.

use diabolo::buffer::{Element, View};
use diabolo::kernels::nearest::{
    Distance, Distances, K, LANES, NONE, Nearest, NearestFiltered, NearestOfAll, Residuals,
    RowNorms, definition,
};
use rand::RngExt;

use super::harness::{Case, Ready, gpu};
use super::{EPSILON, SIZES};

/// The lists of all queries after a chunk was taken in: distances and indices. With `first` 0 they begin
/// anew; otherwise they held indices 0 to k and the distances of `so_far`.
fn lists(
    ready: &Ready,
    [query_norms, reference_norms]: [View; 2],
    distance: impl Fn(usize, usize) -> f64,
    (k, first, so_far): (usize, usize, View),
) -> (Vec<f64>, Vec<u32>) {
    let (queries, chunk) = (query_norms.len, reference_norms.len);
    let before = ready.given(so_far);
    let len = NearestOfAll::len(queries, k);
    let (mut distances, mut neighbours) = (vec![0.0; len], vec![0; len]);
    for group in 0..len / k {
        // Beyond the last query its list stands again.
        let query = group.min(queries - 1);
        let mut all: Vec<(f64, u32)> = Vec::new();
        if first > 0 {
            all.extend(
                (0..k).map(|place| (before[NearestOfAll::at(k, group, place)], place as u32)),
            );
        }
        all.extend((0..chunk).map(|i| (distance(query, i), (first + i) as u32)));
        let mut list = definition::nearest(&all, k);
        list.resize(k, (f64::INFINITY, NONE));
        for (place, (distance, index)) in list.into_iter().enumerate() {
            let at = NearestOfAll::at(k, group, place);
            (distances[at], neighbours[at]) = (distance, index);
        }
    }
    (distances, neighbours)
}

pub fn norms_and_distances() {
    let Some(adapter) = gpu() else { return };
    for rows in SIZES {
        for cols in SIZES {
            let mut test = Case::new(rows + cols);
            let x = test.real("x", rows * cols).matrix(rows, cols);
            let norms = test.output("norms", rows);
            let bound = 4.0 * (cols as f64).sqrt() * EPSILON * cols as f64;
            let ready = test.finish(RowNorms { x, norms });
            ready.compare(&adapter, |_, _, _| bound);
            let x = ready.given(x.view);
            let squared = x.chunks(cols).map(definition::squared_norm);
            ready.defined(norms, &squared.collect::<Vec<_>>());

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
                let views = [
                    kernel.dots.view,
                    kernel.query_norms,
                    kernel.reference_norms,
                    kernel.distances,
                ];
                let ready = test.finish(kernel);
                ready.compare(&adapter, |_, i, _| {
                    let written = (first..first + rows).contains(&(i / LANES % references));
                    // Roundings of numbers below 6; sqrt and division to 2.5 ulps each.
                    if written { 16.0 * 6.0 * EPSILON } else { 0.0 }
                });
                let [dots, q, r, before] = views.map(|view| ready.given(view));
                let after = before.iter().enumerate().map(|(i, &before)| {
                    // Beyond the last query of a group its last one stands again.
                    let query = (i / LANES / references * LANES + i % LANES).min(cols - 1);
                    match (i / LANES % references).checked_sub(first) {
                        Some(reference) if reference < rows => {
                            let dot = dots[reference * cols + query];
                            definition::distance(distance, dot, q[query], r[reference])
                        }
                        _ => before,
                    }
                });
                ready.defined(views[3], &after.collect::<Vec<_>>());
            }
        }
    }
}

pub fn the_nearest_of_all_agree_exactly_whether_lists_begin_or_go_on() {
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
            let (nearest, neighbours) = (kernel.nearest, kernel.neighbours);
            let ready = test.finish(kernel);
            ready.compare(&adapter, |_, _, _| 0.0);
            let dots = ready.given(dots.view);
            let expected = lists(
                &ready,
                [query_norms, reference_norms],
                |query, reference| {
                    let dot = dots[reference * queries + query];
                    definition::distance(distance, dot, 1.0, 1.0)
                },
                (k, first, so_far),
            );
            ready.defined(nearest, &expected.0);
            ready.defined_indices(neighbours, &expected.1);
        }
    }
}

pub fn nearest_neighbours_agree_exactly_ties_and_all() {
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

        let mut expected = Vec::new();
        for query in distances.chunks_exact(references) {
            for draw in candidates.chunks_exact(longest) {
                for &size in &sizes {
                    let all = draw[..size].iter();
                    let all: Vec<_> = all.map(|&i| (query[i as usize].into(), i)).collect();
                    let nearest = definition::nearest(&all, K);
                    let mut list: Vec<u32> = nearest.iter().map(|pair| pair.1).collect();
                    list.resize(K, NONE);
                    expected.extend(list);
                }
            }
        }
        ready.defined_indices(neighbours, &expected);
    }
}

pub fn residuals_of_sketches() {
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
            let (sketches, norms, slack) = (kernel.sketches.view, kernel.norms, kernel.slack());
            let ready = test.finish(kernel);
            // |√a − √b| ≤ |a − b| / √a
            ready.compare(&adapter, |_, _, expected| {
                let square = 4.0 * (cols as f64 + 4.0) * cols as f64 * EPSILON;
                square.sqrt().min(square / expected) + 4.0 * EPSILON * expected
            });
            let mut after = ready.given(sketches);
            for (sketch, norm) in after.chunks_mut(cols).zip(ready.given(norms)) {
                let (last, inside) = sketch.split_last_mut().expect("a column");
                *last = definition::residual(inside, norm, slack.into());
            }
            // A root near 0 moves more than its square.
            ready.defined_within(sketches, &after, |value| 1e-12 * (1.0 + 1.0 / value.abs()));
        }
    }
}

pub fn the_nearest_that_bounds_let_through_agree_exactly() {
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
            let neighbours = kernel.of_all.neighbours;
            let ready = test.finish(kernel);
            ready.compare(&adapter, |_, _, _| 0.0);
            let [q, r] = [q, r].map(|view| ready.given(view));
            let expected = lists(
                &ready,
                [query_norms, reference_norms],
                |query, reference| {
                    let pairs = q[query * width..][..width]
                        .iter()
                        .zip(&r[reference * width..]);
                    let dot = pairs.map(|(q, r)| q * r).sum();
                    definition::distance(distance, dot, 1.0, 1.0)
                },
                (k, first, nearest),
            );
            ready.defined(nearest, &expected.0);
            ready.defined_indices(neighbours, &expected.1);
        }
    }
}
