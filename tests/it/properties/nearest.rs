//! Distances and nearest neighbours, by brute force.

use diabolo::buffer::{Matrix, View};
use diabolo::device::Device;
use diabolo::kernels::nearest::{
    Distance, Distances, K, LANES, NONE, Nearest, NearestOfAll, RowNorms,
};
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bench::{Bench, DOUBLE, SINGLE, compare, uniform};
use super::exact::{Exact, ONE, exact, sum};
use super::shapes::side;
use super::{emit, for_all};

#[derive(Clone, Copy, Debug)]
struct Search {
    queries: usize,
    references: usize,
    features: usize,
    seed: u64,
}

fn search() -> impl Strategy<Value = Search> {
    (side(), side(), side(), 0..1000u64).prop_map(|(queries, references, features, seed)| Search {
        queries,
        references,
        features,
        seed,
    })
}

pub fn row_norms(bench: &mut Bench, x: Matrix) -> View {
    let norms = bench.output(x.rows);
    bench.launch(RowNorms { x, norms });
    norms
}

/// Squared Euclidean and cosine distances of all queries to all references, in two chunks of these
/// where there are two; and the nearest of all by each.
fn distances(
    bench: &mut Bench,
    case: &Search,
    queries: View,
    references: View,
) -> [(View, View); 2] {
    let (rows, cols, features) = (case.queries, case.references, case.features);
    let query_norms = row_norms(bench, queries.matrix(rows, features));
    let results = Distance::ALL.map(|distance| {
        (
            distance,
            bench.output(Distances::len(rows, cols)),
            bench.output(NearestOfAll::len(rows, K)),
            bench.indices(&vec![0; NearestOfAll::len(rows, K)]),
        )
    });
    let first_chunk = cols.div_ceil(2);
    for (first, chunk) in [(0, first_chunk), (first_chunk, cols - first_chunk)] {
        if chunk == 0 {
            continue;
        }
        let part = references.part(first * features, chunk * features);
        let dims = [chunk, features, rows];
        let dots = emit::gemm(bench, dims, (part, false), (queries, true), emit::PLAIN);
        let dots = dots.matrix(chunk, rows);
        let reference_norms = row_norms(bench, part.matrix(chunk, features));
        for (distance, distances, nearest, neighbours) in results {
            bench.launch(Distances {
                distance,
                dots,
                query_norms,
                reference_norms,
                distances,
                first,
            });
            bench.launch(NearestOfAll {
                distance,
                k: K,
                dots,
                query_norms,
                reference_norms,
                first,
                nearest,
                neighbours,
            });
        }
    }
    results.map(|(_, distances, _, neighbours)| (distances, neighbours))
}

/// Where the distances lie, query by query.
fn in_order(queries: usize, references: usize) -> impl Iterator<Item = usize> {
    (0..queries).flat_map(move |q| (0..references).map(move |r| at(references, q, r)))
}

/// Where a query's distance to a reference lies.
fn at(references: usize, query: usize, reference: usize) -> usize {
    (query / LANES * references + reference) * LANES + query % LANES
}

fn dot(a: &[f64], b: &[f64]) -> Exact {
    sum(a.iter().zip(b).map(|(&a, &b)| exact(a) * exact(b)))
}

/// |q − r|² and 1 − cos ∠(q, r).
fn both_distances(q: &[f64], r: &[f64]) -> [Exact; 2] {
    let (product, [q_norm, r_norm]) = (dot(q, r), [dot(q, q), dot(r, r)]);
    let value = q.iter().zip(r).map(|(q, r)| (q - r) * (q - r)).sum();
    // Devices have the square from three others, whose roundings may exceed it.
    let slack = (q_norm - (product + product) + r_norm).slack;
    let cosine = match q_norm.value * r_norm.value {
        0.0 => ONE,
        _ => ONE - product / (q_norm * r_norm).sqrt(),
    };
    [Exact { value, slack }, cosine]
}

#[test]
fn distances_are_those_of_the_vectors_and_a_vector_of_zeros_is_at_cosine_distance_one() {
    for_all(256, search(), |case| {
        let features = case.features;
        let mut q = uniform(case.queries * features, case.seed);
        let r = uniform(case.references * features, case.seed + 1);
        q[..features].fill(0.0);
        let vectors = |x: &[f64]| x.chunks(features).map(<[f64]>::to_vec).collect::<Vec<_>>();
        let (queries, references) = (vectors(&q), vectors(&r));
        let pairs = queries
            .iter()
            .flat_map(|q| references.iter().map(move |r| (q, r)));
        let expected: Vec<[Exact; 2]> = pairs.map(|(q, r)| both_distances(q, r)).collect();

        let mut bench = Bench::new();
        let (q, r) = (bench.given(&q), bench.given(&r));
        let by_each = distances(&mut bench, &case, q, r);
        let (single, double) = (bench.run::<f32>(), bench.run::<f64>());
        for (index, (view, _)) in by_each.into_iter().enumerate() {
            let expected: Vec<Exact> = expected.iter().map(|both| both[index]).collect();
            let name = Distance::ALL[index].name();
            let places = || in_order(case.queries, case.references);
            let got: Vec<f32> = places().map(|at| single.reals(view)[at]).collect();
            compare(name, &got, &expected, SINGLE)?;
            let got: Vec<f64> = places().map(|at| double.reals(view)[at]).collect();
            compare(name, &got, &expected, 2.0 * DOUBLE)?;
        }
        Ok(())
    });
}

#[test]
fn the_nearest_of_all_taken_in_by_chunks_are_the_first_of_all_distances_sorted() {
    for_all(256, search(), |case| {
        let features = case.features;
        let mut bench = Bench::new();
        let queries = bench.given(&uniform(case.queries * features, case.seed));
        // Every other reference is the one before: ties.
        let mut references = uniform(case.references * features, case.seed + 1);
        for pair in references.chunks_exact_mut(2 * features) {
            let (one, other) = pair.split_at_mut(features);
            other.copy_from_slice(one);
        }
        let references = bench.given(&references);
        let by_each = distances(&mut bench, &case, queries, references);
        let mut device = bench.run::<f32>();
        for (distances, neighbours) in by_each {
            let found = device.read_index(neighbours).expect("readable");
            let distances = device.reals(distances);
            for query in 0..case.queries {
                let mut sorted: Vec<u32> = (0..case.references as u32).collect();
                sorted.sort_by(|&a, &b| {
                    let of = |i: u32| distances[at(case.references, query, i as usize)];
                    of(a).total_cmp(&of(b)).then(a.cmp(&b))
                });
                sorted.resize(sorted.len().max(K), NONE);
                let got: Vec<u32> = (0..K)
                    .map(|place| found[NearestOfAll::at(K, query, place)])
                    .collect();
                prop_assert_eq!(&got, &sorted[..K], "query {}", query);
            }
        }
        Ok(())
    });
}

#[test]
fn distances_are_symmetric_and_the_nearest_to_a_reference_is_itself() {
    for_all(256, search(), |case| {
        let case = Search {
            queries: case.references,
            // One feature has one direction only, and all cosines are 1.
            features: case.features + 1,
            ..case
        };
        let (count, features) = (case.references, case.features);
        let x = uniform(count * features, case.seed);
        let mut bench = Bench::new();
        let (queries, references) = (bench.given(&x), bench.given(&x));
        let by_each = distances(&mut bench, &case, queries, references);
        let device = bench.run::<f64>();
        let largest = x
            .chunks(features)
            .map(|x| dot(x, x).value)
            .fold(0.0, f64::max);
        for ((distances, _), size) in by_each.into_iter().zip([largest, 1.0]) {
            // A sum of `features` products, thrice, and as many roundings of the rest.
            let allowed = 4.0 * (12.0 * (features as f64).sqrt() + 12.0) * DOUBLE * size;
            let at = |i: usize, j: usize| device.reals(distances)[at(count, i, j)];
            for i in 0..count {
                prop_assert!(at(i, i) <= allowed, "{i} is {} from itself", at(i, i));
                let nearest = (0..count).min_by(|&a, &b| at(i, a).total_cmp(&at(i, b)));
                prop_assert_eq!(nearest, Some(i));
                for j in 0..i {
                    let (there, back) = (at(i, j), at(j, i));
                    prop_assert!((there - back).abs() <= allowed, "{there} and {back}");
                }
            }
        }
        Ok(())
    });
}

#[derive(Clone, Debug)]
struct Draws {
    queries: usize,
    references: usize,
    draws: usize,
    /// How many of a draw count, ascending.
    sizes: Vec<usize>,
    /// Whether many are equally far.
    ties: bool,
    seed: u64,
}

fn draws() -> impl Strategy<Value = Draws> {
    let sizes = prop::collection::vec(1..=130usize, 1..=4);
    (side(), side(), 1..=4usize, sizes, any::<bool>(), 0..1000u64).prop_map(
        |(queries, references, draws, sizes, ties, seed)| {
            let mut sizes: Vec<_> = sizes
                .iter()
                .map(|size| size.min(&references))
                .copied()
                .collect();
            sizes.sort();
            sizes.dedup();
            Draws {
                queries,
                references,
                draws,
                sizes,
                ties,
                seed,
            }
        },
    )
}

#[test]
fn the_nearest_are_the_first_of_the_sorted_and_ties_go_to_the_lower_index() {
    for_all(512, draws(), |case| {
        let mut rng = ChaCha8Rng::seed_from_u64(case.seed);
        let per_draw = *case.sizes.last().expect("one size at least");
        let distances: Vec<f64> = (0..case.queries * case.references)
            .map(|_| match case.ties {
                true => f64::from(rng.random_range(0..5u8)),
                false => f64::from(rng.random_range(0.0f32..1.0)),
            })
            .collect();
        let candidates: Vec<Vec<u32>> = (0..case.draws)
            .map(|_| {
                let mut all: Vec<u32> = (0..case.references as u32).collect();
                all.shuffle(&mut rng);
                all.truncate(per_draw);
                all
            })
            .collect();
        let mut expected = Vec::new();
        for distances in distances.chunks(case.references) {
            for candidates in &candidates {
                for &size in &case.sizes {
                    let mut sorted = candidates[..size].to_vec();
                    let key = |&i: &u32| (distances[i as usize], i);
                    sorted.sort_by(|a, b| key(a).partial_cmp(&key(b)).expect("numbers"));
                    sorted.resize(sorted.len().max(K), NONE);
                    expected.extend_from_slice(&sorted[..K]);
                }
            }
        }

        let mut bench = Bench::new();
        let neighbours = bench.indices(&vec![0; expected.len()]);
        // Nobody's distances fill up the last group of queries.
        let mut grouped = vec![f64::NAN; Distances::len(case.queries, case.references)];
        for (at, distance) in in_order(case.queries, case.references).zip(distances) {
            grouped[at] = distance;
        }
        let distances = bench.given(&grouped);
        let candidates = bench.indices(&candidates.concat());
        bench.launch(Nearest {
            queries: case.queries,
            k: K,
            distances,
            candidates,
            draws: case.draws,
            sizes: case.sizes.clone(),
            neighbours,
        });
        bench.check_indices("neighbours", neighbours, &expected)
    });
}
