//! Throughput of exact k-nearest-neighbour search.

use std::ops::Range;

use crate::evaluate::{BLOCK, Distance, Rows, Search};
use crate::plan::Cost;
use crate::train::TrainError;

use super::harness::timed;
use super::{Effort, Machine, Row, alternate};

/// Neighbours that are asked for. The search keeps more of them (see
/// [`nearest::K`](crate::kernels::nearest::K)): it serves few-label evaluation too.
pub const K: usize = 5;

fn blocks(queries: usize) -> impl Iterator<Item = Range<usize>> {
    let firsts = (0..queries).step_by(BLOCK);
    firsts.map(move |first| first..queries.min(first + BLOCK))
}

/// Times the search of all `queries` among all `references` on every device, one row each. References
/// are on the device already; queries go there and neighbours come back.
pub fn knn(
    machines: &[Machine],
    queries: &dyn Rows,
    references: &dyn Rows,
    effort: Effort,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Row>, TrainError> {
    let shape = [
        BLOCK.min(queries.count()),
        references.count(),
        references.width(),
    ];
    let mut searches = Vec::new();
    for machine in machines {
        let all = [(1, vec![references.count()])];
        let mut search = Search::new(&machine.backend, shape, &[Distance::Euclidean], &all)?;
        search.set_references(references, 0..references.count())?;
        searches.push(search);
    }
    let run = |contestant: usize, times| {
        let search: &mut Search = &mut searches[contestant];
        timed(|| {
            for _ in 0..times {
                for block in blocks(queries.count()) {
                    search.run(queries, block)?;
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
    Ok(rows.collect())
}
