//! k-NN as a judge: by both distances, with one neighbour and with as many as the labelled images choose.

use std::ops::Range;

use rayon::prelude::*;

use crate::device::Backend;
use crate::kernels::nearest;
use crate::progress::{Tick, part};
use crate::train::TrainError;

use super::judge::{Judge, Judgement, Labels, Representation};
use super::{Distance, Draws, Found, Rows, Search, majority};

/// Neighbourhood sizes to choose from.
const CHOICES: [usize; 6] = [1, 3, 5, 7, 9, 15];
/// Labelled images, at most, whose labels are predicted from the others to choose k.
const HELD_BACK: usize = 500;
/// Queries per block, unless their distances take more than [`DISTANCE_BYTES`].
pub(crate) const BLOCK: usize = 256;
/// Distances of a block of queries to all references: what every GPU can bind.
const DISTANCE_BYTES: usize = 128 << 20;

/// The neighbours vote, nearest first. It judges four times: by Euclidean and by cosine distance, with
/// one neighbour (`knn-1-euclidean`, `knn-1-cosine`) and with the k that predicts the labelled images
/// best from each other, chosen anew for every draw (`knn-chosen-euclidean`, `knn-chosen-cosine`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Knn;

/// How many neighbours vote, as the judge's name says it: `[k = 1, the chosen k]`.
const VOTERS: [&str; 2] = ["1", "chosen"];

impl Judge for Knn {
    fn judge(
        &self,
        backend: &Backend,
        representation: Representation<'_>,
        labels: Labels<'_>,
        groups: &[Draws],
        tick: &mut Tick<'_>,
    ) -> Result<Vec<Judgement>, TrainError> {
        let searches: Vec<&[Draws]> = searches(groups, labels.train.len()).collect();
        let parts = searches.len() as f64;
        let mut judgements = Vec::new();
        for (index, groups) in searches.into_iter().enumerate() {
            let index = index as f64;
            let mut tick = part(tick, index / parts, (index + 1.0) / parts);
            let tallies = measure(backend, representation, labels, groups, &mut tick)?;
            for (tally, draws) in tallies.iter().zip(groups) {
                judgements.extend(tally.judgements(draws));
            }
        }
        Ok(judgements)
    }
}

/// The groups that share a search: all, unless what the many draws use is so little that searching it
/// apart from everything is less work.
fn searches(groups: &[Draws], rows: usize) -> impl Iterator<Item = &[Draws]> {
    let used = Draws::used(&groups[..1]).len();
    let together = if 2 * used < rows { 1 } else { groups.len() };
    groups.chunks(together)
}

/// Test images classified rightly in one group's draws: with k = 1 and with the chosen k, by each
/// distance.
struct Tally {
    images: usize,
    sizes: usize,
    /// `[draw · sizes + size][distance][k]`
    hits: Vec<[[usize; 2]; 2]>,
}

impl Tally {
    fn new(draws: &Draws, images: usize) -> Tally {
        Tally {
            images,
            sizes: draws.sizes.len(),
            hits: vec![[[0; 2]; 2]; draws.lists.len() * draws.sizes.len()],
        }
    }

    /// Accuracies of every size, way to vote, distance and draw, in this order.
    fn judgements(&self, draws: &Draws) -> Vec<Judgement> {
        let mut judgements = Vec::new();
        for (size, &labels) in draws.sizes.iter().enumerate() {
            for (way, voters) in VOTERS.into_iter().enumerate() {
                for (distance, metric) in Distance::ALL.into_iter().enumerate() {
                    for draw in 0..draws.lists.len() {
                        let hits = self.hits[draw * self.sizes + size][distance][way];
                        judgements.push(Judgement {
                            judge: format!("knn-{voters}-{}", metric.name()),
                            labels,
                            draw,
                            value: hits as f64 / self.images as f64,
                        });
                    }
                }
            }
        }
        judgements
    }
}

/// Chosen k of one group: `[size][distance][draw]`.
type Choices = Vec<[Vec<usize>; 2]>;

/// Queries per block, where so many references are searched. Whole groups of lanes: part of one would take as
/// much memory.
pub(super) fn block_of(references: usize) -> usize {
    let groups_of_lanes = DISTANCE_BYTES / (4 * references.max(1) * nearest::LANES);
    (groups_of_lanes * nearest::LANES).clamp(nearest::LANES, BLOCK)
}

/// Accuracies of one representation in every group, by one search of the rows that they use.
fn measure(
    backend: &Backend,
    Representation { train, test, .. }: Representation<'_>,
    labels: Labels<'_>,
    groups: &[Draws],
    tick: &mut Tick<'_>,
) -> Result<Vec<Tally>, TrainError> {
    /// Part of the time that choosing k takes, roughly.
    const CHOOSING: f64 = 0.3;
    let used = Draws::used(groups);
    let shapes: Vec<_> = groups
        .iter()
        .map(|draws| (draws.lists.len(), draws.sizes.clone()))
        .collect();
    let block = block_of(used.len());
    let mut search = Search::new(
        backend,
        [block, used.len(), train.width()],
        &Distance::ALL,
        nearest::K,
        &shapes,
    )?;
    let references = || used.iter().map(|&index| index as usize);
    search.set_references(train, references())?;
    let reference_labels: Vec<u8> = references().map(|index| labels.train[index]).collect();
    for (group, draws) in groups.iter().enumerate() {
        search.set_draws(group, &draws.among(&used))?;
    }

    let mut choices = Vec::new();
    for (group, draws) in groups.iter().enumerate() {
        let mut tick = part(tick, 0.0, CHOOSING);
        choices.push(
            if draws.lists.len() == 1 && draws.sizes == [train.count()] {
                choose_among_all(&mut search, block, train, labels.train, group)?
            } else {
                choose(backend, train, labels.train, draws, &mut tick)?
            },
        );
    }

    let tally = |draws| Tally::new(draws, test.count());
    let mut tallies: Vec<Tally> = groups.iter().map(tally).collect();
    for first in (0..test.count()).step_by(block) {
        let block = first..test.count().min(first + block);
        let found = search.run(test, block.clone())?;
        for ((tally, found), choices) in tallies.iter_mut().zip(&found).zip(&choices) {
            let sizes = tally.sizes;
            tally
                .hits
                .par_iter_mut()
                .enumerate()
                .for_each(|(index, hits)| {
                    let (draw, size) = (index / sizes, index % sizes);
                    for (distance, hits) in hits.iter_mut().enumerate() {
                        let ks = [1, choices[size][distance][draw]];
                        for query in block.clone() {
                            let near = found[distance].neighbours(query - first, draw, size);
                            for (hits, k) in hits.iter_mut().zip(ks) {
                                let label = vote(near, k, &reference_labels);
                                *hits += usize::from(label == Some(labels.test[query]));
                            }
                        }
                    }
                });
        }
        part(tick, CHOOSING, 1.0)(block.end as f64 / test.count() as f64)?;
    }
    Ok(tallies)
}

fn vote(neighbours: &[u32], k: usize, labels: &[u8]) -> Option<u8> {
    let voters = neighbours.iter().take(k);
    majority(voters.map(|&index| labels[index as usize]))
}

/// Counts, for each k, how many labelled images the other labelled images classify rightly.
#[derive(Default)]
struct LeaveOneOut([usize; CHOICES.len()]);

impl LeaveOneOut {
    /// Looks at a block of queries that are these references themselves.
    fn add_all(
        &mut self,
        found: &Found,
        size: usize,
        block: Range<usize>,
        label_of: impl Fn(u32) -> u8,
    ) {
        for (query, own) in block.enumerate() {
            let (neighbours, own) = (found.neighbours(query, 0, size), own as u32);
            self.add(neighbours, own, label_of(own), &label_of);
        }
    }

    /// Looks at query `own`, whose neighbours may hold itself.
    fn add(&mut self, neighbours: &[u32], own: u32, label: u8, label_of: impl Fn(u32) -> u8) {
        let others = neighbours.iter().filter(|&&index| index != own);
        let others: Vec<u8> = others.map(|&index| label_of(index)).collect();
        for (hits, &k) in self.0.iter_mut().zip(&CHOICES) {
            *hits += usize::from(majority(others.iter().take(k).copied()) == Some(label));
        }
    }

    /// The best k, the smallest of equals.
    fn best(&self) -> usize {
        let best = (0..CHOICES.len()).rev().max_by_key(|&i| self.0[i]);
        CHOICES[best.expect("there are choices")]
    }
}

/// k of every draw and size, chosen on its labelled images alone: at most the first
/// [`HELD_BACK`] of them are predicted, each from all the others.
fn choose(
    backend: &Backend,
    train: &dyn Rows,
    labels: &[u8],
    draws: &Draws,
    tick: &mut Tick<'_>,
) -> Result<Choices, TrainError> {
    let longest = *draws.sizes.last().expect("a group has a size");
    let held_back = longest.min(HELD_BACK);
    let shape = [(1, draws.sizes.clone())];
    let mut search = Search::new(
        backend,
        [held_back, longest, train.width()],
        &Distance::ALL,
        nearest::K,
        &shape,
    )?;
    let own = Draws {
        lists: vec![(0..longest as u32).collect()],
        sizes: draws.sizes.clone(),
    };
    search.set_draws(0, &own)?;
    let mut choices: Choices = vec![[vec![], vec![]]; draws.sizes.len()];
    for (done, list) in draws.lists.iter().enumerate() {
        let rows = || list.iter().map(|&index| index as usize);
        search.set_references(train, rows())?;
        let found = search.run(train, rows().take(held_back))?.remove(0);
        for (size, (choices, &labelled)) in choices.iter_mut().zip(&draws.sizes).enumerate() {
            for (choices, found) in choices.iter_mut().zip(&found) {
                let queries = labelled.min(held_back);
                let mut tally = LeaveOneOut::default();
                tally.add_all(found, size, 0..queries, |index| {
                    labels[list[index as usize] as usize]
                });
                choices.push(tally.best());
            }
        }
        tick((done + 1) as f64 / draws.lists.len() as f64)?;
    }
    Ok(choices)
}

/// k for the draw of everything, from the references that are already on the device.
fn choose_among_all(
    search: &mut Search,
    block: usize,
    train: &dyn Rows,
    labels: &[u8],
    group: usize,
) -> Result<Choices, TrainError> {
    let queries = train.count().min(BLOCK);
    let mut tallies = [(); 2].map(|()| LeaveOneOut::default());
    for first in (0..queries).step_by(block) {
        let block = first..queries.min(first + block);
        let found = search.run(train, block.clone())?.remove(group);
        for (tally, found) in tallies.iter_mut().zip(&found) {
            tally.add_all(found, 0, block.clone(), |index| labels[index as usize]);
        }
    }
    Ok(vec![tallies.map(|tally| vec![tally.best()])])
}

// A query's own row takes one place of its list.
const _: () = assert!(CHOICES[CHOICES.len() - 1] < nearest::K);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_of_equally_good_k_is_chosen() {
        assert_eq!(LeaveOneOut([3, 5, 5, 1, 5, 0]).best(), 3);
    }
}
