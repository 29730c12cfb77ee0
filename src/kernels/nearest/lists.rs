//! The lists of the nearest, a vector of queries wide.

use super::{K, LANES, NONE};
use crate::scalar::Scalar;

/// The K nearest so far of each of [`LANES`] queries, nearest first.
pub(super) struct Lists<T> {
    pub distances: [[T; LANES]; K],
    pub indices: [[u32; LANES]; K],
}

impl<T: Scalar> Lists<T> {
    pub fn new() -> Self {
        Lists {
            distances: [[T::infinity(); LANES]; K],
            indices: [[NONE; LANES]; K],
        }
    }

    /// Takes in a candidate, at a distance from each query, where not K others are nearer, by
    /// (distance, index). A NaN never gets in.
    #[inline(always)]
    pub fn offer(&mut self, distances: &[T; LANES], index: u32) {
        let mut near = 0;
        for (distance, worst) in distances.iter().zip(&self.distances[K - 1]) {
            near |= u32::from(distance <= worst);
        }
        // Nearly all candidates end here, after one comparison of vectors.
        if near != 0 {
            self.insert(distances, index);
        }
    }

    /// From the far end: what the candidate comes before moves one place on.
    #[expect(clippy::needless_range_loop, reason = "every array goes by lane")]
    #[inline(always)]
    fn insert(&mut self, distances: &[T; LANES], index: u32) {
        for place in (0..K).rev() {
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
