//! Nearest neighbours, and the class that they vote for, in one call each.

use crate::device::Backend;
use crate::train::TrainError;

use super::knn::block_of;
use super::{Distance, Draws, Rows, Search, majority};

/// The `k` references nearest to each query: for each query, indices of references, nearest first; of
/// equally near ones, the smaller index first. Fewer than `k` where there are fewer references.
///
/// `references` is `[R, width]`, `queries` `[Q, width]`. The device computes in f32; the CPU in f64 too.
///
/// # Errors
///
/// [`TrainError`] if `k` is 0 or more than [`K`](crate::kernels::nearest::K), the widths differ, there is no reference, rows cannot be
/// read, or the device fails.
///
/// ```
/// use diabolo::device::{Backend, cpu::Cpu};
/// use diabolo::evaluate::{Distance, Features, classify, neighbours};
///
/// let device = Backend::Cpu(Cpu::<f32>::team(1)?);
/// let labelled = Features { width: 2, values: vec![0.0, 0.0, 1.0, 1.0, 1.0, 0.9] };
/// let query = Features { width: 2, values: vec![0.9, 0.9] };
/// assert_eq!(neighbours(&device, &labelled, &query, 2, Distance::Euclidean)?, [[2, 1]]);
/// assert_eq!(classify(&device, &labelled, &[3, 8, 8], &query, 3, Distance::Euclidean)?, [8]);
/// # Ok::<(), diabolo::Error>(())
/// ```
pub fn neighbours(
    backend: &Backend,
    references: &dyn Rows,
    queries: &dyn Rows,
    k: usize,
    distance: Distance,
) -> Result<Vec<Vec<u32>>, TrainError> {
    let count = references.count();
    let block = block_of(count);
    let size = [block, count, references.width()];
    let everything = [(1, vec![count])];
    let mut search = Search::new(backend, size, &[distance], k, &everything)?;
    search.set_references(references, 0..count)?;
    let draw = Draws {
        lists: vec![(0..count as u32).collect()],
        sizes: vec![count],
    };
    search.set_draws(0, &draw)?;
    let mut lists = Vec::with_capacity(queries.count());
    for first in (0..queries.count()).step_by(block) {
        let last = queries.count().min(first + block);
        let found = search.run(queries, first..last)?;
        let of_query = |query| found[0][0].neighbours(query, 0, 0).to_vec();
        lists.extend((0..last - first).map(of_query));
    }
    Ok(lists)
}

/// The class of each query: the commonest label among its `k` nearest references; of equally common ones,
/// the one whose first vote is nearest.
///
/// `references` is `[R, width]`, `labels` `[R]`, `queries` `[Q, width]`.
///
/// # Errors
///
/// Those of [`neighbours`], and [`TrainError::Labels`] if there is not one label for each reference.
pub fn classify(
    backend: &Backend,
    references: &dyn Rows,
    labels: &[u8],
    queries: &dyn Rows,
    k: usize,
    distance: Distance,
) -> Result<Vec<u8>, TrainError> {
    if labels.len() != references.count() {
        return Err(TrainError::Labels {
            labels: labels.len(),
            images: references.count(),
        });
    }
    let lists = neighbours(backend, references, queries, k, distance)?;
    let label = |list: Vec<u32>| majority(list.iter().map(|&index| labels[index as usize]));
    let classes = lists.into_iter().map(label);
    Ok(classes.collect::<Option<_>>().expect("a reference votes"))
}
