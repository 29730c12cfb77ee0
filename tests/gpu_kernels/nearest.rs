//! Distances and nearest neighbours.

use diabolo::device::Device;
use diabolo::device::cpu::Cpu;
use diabolo::kernels::nearest::{Distances, Nearest, RowNorms};
use diabolo::plan::Element;
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

            let mut test = Case::new(rows + cols);
            let (references, first) = (cols + 7, 3);
            let kernel = Distances {
                dots: test.real("dots", rows * cols).matrix(rows, cols),
                query_norms: test.uniform("query norms", rows, 0.5..2.0),
                reference_norms: test.uniform("reference norms", cols, 0.5..2.0),
                euclidean: test
                    .real("euclidean", rows * references)
                    .matrix(rows, references),
                cosine: test
                    .real("cosine", rows * references)
                    .matrix(rows, references),
                first,
            };
            test.finish(kernel).compare(&adapter, |_, i, _| {
                let written = (first..first + cols).contains(&(i % references));
                // Roundings of numbers below 6; sqrt and division to 2.5 ulps each.
                if written { 16.0 * 6.0 * EPSILON } else { 0.0 }
            });
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
        let view = test.guarded("distances", Element::Real, distances.len());
        test.reals.push((view, distances.clone()));
        let mut candidates = Vec::new();
        for _ in 0..draws {
            let mut all: Vec<u32> = (0..references as u32).collect();
            rand::seq::SliceRandom::shuffle(&mut all[..], &mut test.rng);
            candidates.extend_from_slice(&all[..longest]);
        }
        let len = Nearest::len(queries, draws, sizes.len());
        let kernel = Nearest {
            distances: view.matrix(queries, references),
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
        let mut lists = got.chunks_exact(diabolo::kernels::nearest::K);
        for query in distances.chunks_exact(references) {
            for draw in candidates.chunks_exact(longest) {
                for &size in &sizes {
                    let mut expected = draw[..size].to_vec();
                    expected.sort_by(|&a, &b| {
                        let of = |i: u32| query[i as usize];
                        of(a).total_cmp(&of(b)).then(a.cmp(&b))
                    });
                    expected.resize(diabolo::kernels::nearest::K, u32::MAX);
                    assert_eq!(
                        lists.next().expect("one per query, draw and size"),
                        expected
                    );
                }
            }
        }
    }
}
