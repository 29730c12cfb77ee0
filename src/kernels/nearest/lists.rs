//! The lists of the nearest, a vector of queries wide.

use super::{K, LANES, NONE};
use crate::scalar::Scalar;

/// The k nearest so far of each of [`LANES`] queries, nearest first, in the first k of K places.
pub(super) struct Lists<T> {
    distances: [[T; LANES]; K],
    indices: [[u32; LANES]; K],
    k: usize,
}

impl<T: Scalar> Lists<T> {
    /// Panics unless k is from 1 to [`K`].
    pub fn new(k: usize) -> Self {
        assert!((1..=K).contains(&k), "{k} nearest");
        Lists {
            distances: [[T::infinity(); LANES]; K],
            indices: [[NONE; LANES]; K],
            k,
        }
    }

    /// What [`save`](Self::save) has written.
    pub fn restored(distances: &[T], indices: &[u32]) -> Self {
        let mut lists = Lists::new(indices.len() / LANES);
        lists.distances.as_flattened_mut()[..distances.len()].copy_from_slice(distances);
        lists.indices.as_flattened_mut()[..indices.len()].copy_from_slice(indices);
        lists
    }

    /// Distances and indices `[k, LANES]`.
    pub fn save(&self, distances: &mut [T], indices: &mut [u32]) {
        distances.copy_from_slice(&self.distances.as_flattened()[..distances.len()]);
        indices.copy_from_slice(&self.indices.as_flattened()[..indices.len()]);
    }

    /// Indices of one query's.
    pub fn of(&self, lane: usize) -> impl Iterator<Item = u32> {
        self.indices[..self.k].iter().map(move |place| place[lane])
    }

    /// Takes in a candidate, at a distance from each query, where not k others are nearer, by
    /// (distance, index). A NaN never gets in.
    #[inline(always)]
    pub fn offer(&mut self, distances: &[T; LANES], index: u32) {
        let mut near = 0;
        for (distance, worst) in distances.iter().zip(&self.distances[self.k - 1]) {
            near |= u32::from(distance <= worst);
        }
        // Nearly all candidates end here, after one comparison of vectors.
        if near != 0 {
            self.insert(distances, index);
        }
    }

    /// Whether a candidate that is at these distances, or farther, may get in anywhere.
    #[inline(always)]
    pub fn may_take(&self, distances: &[T; LANES]) -> bool {
        let mut beyond = 0;
        for (distance, worst) in distances.iter().zip(&self.distances[self.k - 1]) {
            beyond += u32::from(distance > worst); // a NaN, which says nothing, is not
        }
        beyond < LANES as u32
    }

    /// From the far end: what the candidate comes before moves one place on.
    #[expect(clippy::needless_range_loop, reason = "every array goes by lane")]
    #[inline(always)]
    fn insert(&mut self, distances: &[T; LANES], index: u32) {
        for place in (0..self.k).rev() {
            let mut moved = 0;
            for lane in 0..LANES {
                let distance = distances[lane];
                let (d, i) = (self.distances[place][lane], self.indices[place][lane]);
                // Before the nearest stands nobody that the candidate could come before.
                let (nearer_d, nearer_i) = match place {
                    0 => (T::neg_infinity(), 0),
                    _ => (
                        self.distances[place - 1][lane],
                        self.indices[place - 1][lane],
                    ),
                };
                let before = |d: T, i: u32| (distance < d) | ((distance == d) & (index < i));
                let (moves, enters) = (before(nearer_d, nearer_i), before(d, i));
                let (entering_d, entering_i) = if enters { (distance, index) } else { (d, i) };
                self.distances[place][lane] = if moves { nearer_d } else { entering_d };
                self.indices[place][lane] = if moves { nearer_i } else { entering_i };
                moved |= u32::from(moves);
            }
            if moved == 0 {
                break;
            }
        }
    }
}
