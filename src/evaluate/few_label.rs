//! Few-label classification: k-NN from a few labelled images, on pixels and on features.
//!
//! Draws are nested: the first N images of a draw's permutation are its draw of N. Every
//! representation sees the same draws, so the gain of features over pixels is a paired
//! difference, draw by draw.

use std::ops::Range;

use rayon::prelude::*;
use serde::{Serialize, Serializer};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::data::DataError;
use crate::data::draws::{Sampling, nested_draws};
use crate::device::Backend;
use crate::kernels::nearest;
use crate::train::TrainError;

use super::{Distance, Draws, Found, Rows, Search, majority};

/// Neighbourhood sizes to choose from.
const CHOICES: [usize; 6] = [1, 3, 5, 7, 9, 15];
/// Labelled images, at most, whose labels are predicted from the others to choose k.
const HELD_BACK: usize = 500;
/// Queries per block, unless their distances take more than [`DISTANCE_BYTES`].
pub(crate) const BLOCK: usize = 256;
/// Distances of a block of queries to all references: what every GPU can bind.
const DISTANCE_BYTES: usize = 128 << 20;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct FewLabel {
    /// Numbers of labelled images, ascending; those as large as the training set are drawn once.
    pub labels: Vec<usize>,
    /// Draws of each.
    pub draws: usize,
    /// How they are drawn.
    pub sampling: Sampling,
    /// Decides the draws.
    pub seed: u64,
}

impl FewLabel {
    /// Errors if there are not as many labels as it would draw.
    pub fn check(&self, labels: &[u8], classes: usize) -> Result<(), DataError> {
        groups(labels, classes, self).map(|_| ())
    }
}

/// Mean and standard deviation over the draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation (n − 1); 0 for a single draw.
    pub sd: f64,
}

/// Paired difference of two accuracies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gain {
    /// Mean.
    pub mean: f64,
    /// Student's 95 % confidence interval of the mean; none for a single draw.
    pub ci95: Option<[f64; 2]>,
}

/// Neighbours that vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum K {
    /// So many.
    Fixed(usize),
    /// As many as predict the labelled images best from each other, in every draw anew.
    Chosen,
}

impl Serialize for K {
    /// The number, or `"chosen"`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            K::Fixed(k) => k.serialize(serializer),
            K::Chosen => serializer.serialize_str("chosen"),
        }
    }
}

/// One line of the result: accuracies over the draws on all test images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Labelled images.
    pub labels: usize,
    /// Draws.
    pub draws: usize,
    /// How they were drawn.
    pub sampling: Sampling,
    /// Always `knn`.
    pub classifier: &'static str,
    /// Neighbours that vote.
    pub k: K,
    /// `euclidean` or `cosine`.
    pub distance: &'static str,
    /// Accuracy on pixels.
    pub raw: Spread,
    /// Accuracy on features.
    pub features: Spread,
    /// Features over pixels.
    pub gain: Gain,
}

/// Training and test rows of one representation.
pub type Pair<'a> = (&'a dyn Rows, &'a dyn Rows);

/// Labels of the training and of the test rows.
pub type Labels<'a> = (&'a [u8], &'a [u8]);

/// Measures pixels and features on the same draws. `progress` hears of the work done, as a part
/// of 1.
pub fn few_label(
    backend: &Backend,
    [raw, features]: [Pair<'_>; 2],
    labels: Labels<'_>,
    classes: usize,
    setting: &FewLabel,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Vec<Row>, FewLabelError> {
    let groups = groups(labels.0, classes, setting)?;
    if groups.is_empty() {
        return Ok(vec![]); // nothing to search for, and no reason to hold the references twice
    }
    let searches: Vec<&[Draws]> = searches(&groups, labels.0.len()).collect();
    let mut measured = [vec![], vec![]];
    for (part, (pair, tallies)) in [raw, features].into_iter().zip(&mut measured).enumerate() {
        for (index, groups) in searches.iter().enumerate() {
            let part = part * searches.len() + index;
            let parts = 2 * searches.len();
            let progress = |done: f64| progress((part as f64 + done) / parts as f64);
            tallies.extend(measure(backend, pair, labels, groups, &progress)?);
        }
    }
    let mut rows = Vec::new();
    for (group, draws) in groups.iter().enumerate() {
        for (size, &labels) in draws.sizes.iter().enumerate() {
            for k in [K::Fixed(1), K::Chosen] {
                for (distance, metric) in Distance::ALL.into_iter().enumerate() {
                    let [raw, features] =
                        [0, 1].map(|of: usize| measured[of][group].accuracies(size, distance, k));
                    rows.push(Row {
                        labels,
                        draws: draws.lists.len(),
                        sampling: setting.sampling,
                        classifier: "knn",
                        k,
                        distance: metric.name(),
                        gain: gain(&raw, &features),
                        raw: spread(&raw),
                        features: spread(&features),
                    });
                }
            }
        }
    }
    Ok(rows)
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum FewLabelError {
    /// More labels are asked for than there are.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device failed, or the search does not fit it.
    #[error(transparent)]
    Search(#[from] TrainError),
}

impl From<crate::device::DeviceError> for FewLabelError {
    fn from(error: crate::device::DeviceError) -> Self {
        FewLabelError::Search(error.into())
    }
}

/// The draws: a group of many, and, where all labels are asked for, one with everything.
fn groups(labels: &[u8], classes: usize, setting: &FewLabel) -> Result<Vec<Draws>, DataError> {
    let few = setting.labels.iter().filter(|&&n| n != labels.len());
    let few: Vec<usize> = few.copied().collect();
    let mut groups = Vec::new();
    if !few.is_empty() {
        let (draws, seed) = (setting.draws, setting.seed);
        groups.push(Draws {
            lists: nested_draws(labels, classes, &few, draws, setting.sampling, seed)?,
            sizes: few,
        });
    }
    if setting.labels.contains(&labels.len()) {
        groups.push(Draws {
            lists: vec![(0..labels.len() as u32).collect()],
            sizes: vec![labels.len()],
        });
    }
    Ok(groups)
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

    /// Accuracy of every draw.
    fn accuracies(&self, size: usize, distance: usize, k: K) -> Vec<f64> {
        let draws = self.hits.iter().skip(size).step_by(self.sizes);
        let hits = draws.map(|hits| hits[distance][usize::from(k == K::Chosen)]);
        hits.map(|hits| hits as f64 / self.images as f64).collect()
    }
}

/// Chosen k of one group: `[size][distance][draw]`.
type Choices = Vec<[Vec<usize>; 2]>;

/// Accuracies of one representation in every group, by one search of the rows that they use.
fn measure(
    backend: &Backend,
    (train, test): Pair<'_>,
    (train_labels, test_labels): Labels<'_>,
    groups: &[Draws],
    progress: &dyn Fn(f64),
) -> Result<Vec<Tally>, FewLabelError> {
    /// Part of the time that choosing k takes, roughly.
    const CHOOSING: f64 = 0.3;
    let used = Draws::used(groups);
    let shapes: Vec<_> = groups
        .iter()
        .map(|draws| (draws.lists.len(), draws.sizes.clone()))
        .collect();
    // Whole groups of queries: part of one would take as much memory.
    let groups_of_queries = DISTANCE_BYTES / (4 * used.len() * nearest::LANES);
    let block = (groups_of_queries * nearest::LANES).clamp(nearest::LANES, BLOCK);
    let mut search = Search::new(
        backend,
        [block, used.len(), train.width()],
        &Distance::ALL,
        nearest::K,
        &shapes,
    )?;
    let references = || used.iter().map(|&index| index as usize);
    search.set_references(train, references())?;
    let reference_labels: Vec<u8> = references().map(|index| train_labels[index]).collect();
    for (group, draws) in groups.iter().enumerate() {
        search.set_draws(group, &draws.among(&used))?;
    }

    let mut choices = Vec::new();
    for (group, draws) in groups.iter().enumerate() {
        let progress = |done: f64| progress(CHOOSING * done);
        choices.push(
            if draws.lists.len() == 1 && draws.sizes == [train.count()] {
                choose_among_all(&mut search, block, train, train_labels, group)?
            } else {
                choose(backend, train, train_labels, draws, &progress)?
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
                                *hits += usize::from(label == Some(test_labels[query]));
                            }
                        }
                    }
                });
        }
        progress(CHOOSING + (1.0 - CHOOSING) * block.end as f64 / test.count() as f64);
    }
    Ok(tallies)
}

fn vote(neighbours: &[u32], k: usize, labels: &[u8]) -> Option<u8> {
    let voters = neighbours.iter().take(k);
    majority(voters.map(|&index| labels[index as usize]))
}

/// Counts, for each k, how often the others among the labelled images predict one's own label.
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
    progress: &dyn Fn(f64),
) -> Result<Choices, FewLabelError> {
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
        progress((done + 1) as f64 / draws.lists.len() as f64);
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
) -> Result<Choices, FewLabelError> {
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

fn spread(values: &[f64]) -> Spread {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let sd = if values.len() > 1 {
        (squares / (count - 1.0)).sqrt()
    } else {
        0.0
    };
    Spread { mean, sd }
}

/// Mean paired difference, with Student's 95 % interval.
fn gain(raw: &[f64], features: &[f64]) -> Gain {
    let differences: Vec<f64> = features.iter().zip(raw).map(|(f, r)| f - r).collect();
    let Spread { mean, sd } = spread(&differences);
    let count = differences.len() as f64;
    let ci95 = (differences.len() > 1).then(|| {
        let student = StudentsT::new(0.0, 1.0, count - 1.0).expect("positive degrees of freedom");
        let half = student.inverse_cdf(0.975) * sd / count.sqrt();
        [mean - half, mean + half]
    });
    Gain { mean, ci95 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gain_is_paired_and_its_interval_is_students() {
        let (raw, features) = ([0.1, 0.5, 0.9], [0.2, 0.7, 1.2]);
        let gain = gain(&raw, &features);
        assert!((gain.mean - 0.2).abs() < 1e-12);
        // sd 0.1, t(0.975, 2) = 4.302653
        let half = 4.302_653 * 0.1 / 3f64.sqrt();
        let [low, high] = gain.ci95.expect("three draws");
        assert!((low - (0.2 - half)).abs() < 1e-6 && (high - (0.2 + half)).abs() < 1e-6);
    }

    #[test]
    fn a_single_draw_has_no_interval() {
        assert_eq!(gain(&[0.5], &[0.75]).ci95, None);
    }

    #[test]
    fn the_smallest_of_equally_good_k_is_chosen() {
        assert_eq!(LeaveOneOut([3, 5, 5, 1, 5, 0]).best(), 3);
    }

    #[test]
    fn k_is_written_as_a_number_or_as_chosen() {
        let json = serde_json::to_string(&[K::Fixed(1), K::Chosen]).expect("plain data");
        assert_eq!(json, r#"[1,"chosen"]"#);
    }
}
