//! Throughput of exact k-nearest-neighbour search.

use std::ops::Range;

use crate::buffer::Cost;
use crate::evaluate::{BLOCK, Distance, Rows, Search};
use crate::train::TrainError;

use super::harness::timed;
use super::{Effort, Machine, Row, alternate};

/// Neighbours that are asked for.
pub const K: usize = 5;

fn blocks(queries: usize) -> impl Iterator<Item = Range<usize>> {
    let firsts = (0..queries).step_by(BLOCK);
    firsts.map(move |first| first..queries.min(first + BLOCK))
}

/// What was measured and found.
pub struct Knn {
    /// One for each device.
    pub rows: Vec<Row>,
    /// What the first device found: indices of references, nearest first, [`K`] to a query, or all where
    /// there are fewer.
    pub neighbours: Vec<u32>,
}

/// Times the search of all `queries` among all `references` on every device. References are on the
/// device already; queries go there and neighbours come back.
pub fn knn(
    machines: &[Machine],
    queries: &dyn Rows,
    references: &dyn Rows,
    effort: Effort,
    progress: &mut dyn FnMut(f64),
) -> Result<Knn, TrainError> {
    let shape = [
        BLOCK.min(queries.count()),
        references.count(),
        references.width(),
    ];
    let mut searches = Vec::new();
    for machine in machines {
        let all = [(1, vec![references.count()])];
        let mut search = Search::new(&machine.backend, shape, &[Distance::Euclidean], K, &all)?;
        search.set_references(references, 0..references.count())?;
        searches.push(search);
    }
    let mut neighbours = vec![vec![]; machines.len()];
    let run = |contestant: usize, times| {
        let search: &mut Search = &mut searches[contestant];
        let neighbours: &mut Vec<u32> = &mut neighbours[contestant];
        timed(|| {
            for _ in 0..times {
                neighbours.clear();
                for block in blocks(queries.count()) {
                    let found = search.run(queries, block.clone())?;
                    for query in 0..block.len() {
                        neighbours.extend(found[0][0].neighbours(query, 0, 0));
                    }
                }
            }
            Ok(())
        })
    };
    let timings = alternate(machines.len(), effort, run, progress)?;
    let rows = machines.iter().zip(&searches).zip(timings);
    let rows = rows.map(|((machine, search), timing)| {
        let cost: Cost = blocks(queries.count()).map(|_| search.cost()).sum();
        let (count, [_, references, width]) = (queries.count(), shape);
        Row {
            batch: Some(count),
            detail: Some(format!("exact, k = {K}")),
            shapes: Some(format!("{count} × {references} × {width}")),
            ..machine.row("knn", "search", timing, cost)
        }
    });
    Ok(Knn {
        rows: rows.collect(),
        neighbours: neighbours.swap_remove(0),
    })
}
