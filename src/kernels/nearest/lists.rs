//! The lists of the nearest, a vector of queries wide.
//!
//! Most candidates of many end at one comparison with the last of each list. Those that come before any of
//! them wait, until as many do as a list has places: then a sorting network puts them in order and merges
//! them into the lists, all queries at once and without a branch. It is bitonic (K. E. Batcher, "Sorting
//! networks and their applications", 1968), with all comparisons the same way round.

use num_traits::AsPrimitive;
use pulp::{Arch, Simd, WithSimd};

use super::{K, LANES, NONE};
use crate::scalar::Scalar;

/// The k nearest so far of each of [`LANES`] queries.
pub(super) struct Lists<T: Scalar> {
    /// Nearest first; beyond the first k places they need not be the nearest.
    nearest: Columns<T>,
    waiting: Columns<T>,
    /// How many wait, fewer than K.
    count: usize,
    k: usize,
}

/// K candidates of each query; in empty places infinity and [`NONE`].
struct Columns<T: Scalar> {
    distances: [[T; LANES]; K],
    indices: [[T::Index; LANES]; K],
}

impl<T: Scalar> Lists<T> {
    /// Panics unless k is from 1 to [`K`].
    pub fn new(k: usize) -> Self {
        assert!((1..=K).contains(&k), "{k} nearest");
        Lists {
            nearest: Columns::empty(),
            waiting: Columns::empty(),
            count: 0,
            k,
        }
    }

    /// What [`save`](Self::save) has written.
    pub fn restored(distances: &[T], indices: &[u32]) -> Self {
        let mut lists = Lists::new(indices.len() / LANES);
        let Columns {
            distances: d,
            indices: i,
        } = &mut lists.nearest;
        d.as_flattened_mut()[..distances.len()].copy_from_slice(distances);
        for (i, &saved) in i.as_flattened_mut().iter_mut().zip(indices) {
            *i = saved.into();
        }
        lists
    }

    /// Distances and indices `[k, LANES]`. None may wait.
    pub fn save(&self, distances: &mut [T], indices: &mut [u32]) {
        distances.copy_from_slice(&self.nearest.distances.as_flattened()[..distances.len()]);
        for (saved, i) in indices.iter_mut().zip(self.nearest.indices.as_flattened()) {
            *saved = i.as_();
        }
    }

    /// Indices of one query's. None may wait.
    pub fn of(&self, lane: usize) -> impl Iterator<Item = u32> {
        let places = &self.nearest.indices[..self.k];
        places.iter().map(move |place| place[lane].as_())
    }

    /// Takes in a candidate, at a distance from each query, where not k others are nearer, by
    /// (distance, index). A NaN never gets in.
    #[inline(always)]
    pub fn offer(&mut self, distances: &[T; LANES], index: u32) {
        let mut near = 0;
        for (distance, worst) in distances.iter().zip(self.worst()) {
            near |= u32::from(distance <= worst);
        }
        if near != 0 {
            self.waiting.distances[self.count] = *distances;
            self.waiting.indices[self.count] = [index.into(); LANES];
            if distances.iter().fold(false, |any, d| any | d.is_nan()) {
                self.waiting.empty_nans(self.count);
            }
            self.count += 1;
            if self.count == K {
                self.settle();
            }
        }
    }

    /// Whether a candidate that is at these distances, or farther, may get in anywhere.
    #[inline(always)]
    pub fn may_take(&self, distances: &[T; LANES]) -> bool {
        let mut beyond = 0;
        for (distance, worst) in distances.iter().zip(self.worst()) {
            beyond += u32::from(distance > worst); // a NaN, which says nothing, is not
        }
        beyond < LANES as u32
    }

    #[inline(always)]
    fn worst(&self) -> &[T; LANES] {
        &self.nearest.distances[self.k - 1]
    }

    /// Takes those that wait into the lists.
    pub fn settle(&mut self) {
        if self.count == 0 {
            return;
        }
        self.waiting.distances[self.count..].fill([T::infinity(); LANES]);
        self.waiting.indices[self.count..].fill([NONE.into(); LANES]);
        self.count = 0;
        Arch::new().dispatch(Merge {
            nearest: &mut self.nearest,
            others: &self.waiting,
        });
    }
}

/// Leaves in `nearest`, which is in order, the nearest K of both.
struct Merge<'a, T: Scalar> {
    nearest: &'a mut Columns<T>,
    others: &'a Columns<T>,
}

/// The candidates of as many queries as a vector has lanes: distances and indices.
type Vectors<T, S> = [(<T as Scalar>::Vector<S>, <T as Scalar>::Indices<S>); K];

/// Puts each place and the one whose number differs in the bits of a flip in order, one flip after the
/// other. (Written out: a loop would take every vector through memory.)
macro_rules! exchange {
    ($simd:ident, $vectors:ident, $($flip:literal),+) => {
        $(exchange!(@ $simd, $vectors, $flip, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);)+
    };
    (@ $simd:ident, $vectors:ident, $flip:literal, $($low:literal)+) => {
        $(if $low < $low ^ $flip {
            let (low, high) = ($vectors[$low], $vectors[$low ^ $flip]);
            [$vectors[$low], $vectors[$low ^ $flip]] = T::in_order($simd, low, high);
        })+
    };
}
const _: () = assert!(K == 16);

impl<T: Scalar> WithSimd for Merge<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for first in (0..LANES).step_by(T::lanes::<S>()) {
            let mut others: Vectors<T, S> = self.others.vectors(first);
            // Ones in order become pairs, fours, eights: one half against the other in reverse leaves
            // the nearer ones in the first, and then each half goes on by itself.
            exchange!(simd, others, 1);
            exchange!(simd, others, 3, 1);
            exchange!(simd, others, 7, 2, 1);
            exchange!(simd, others, 15, 4, 2, 1);
            // The lists and these likewise; the farther half is dropped.
            let mut nearest: Vectors<T, S> = self.nearest.vectors(first);
            for (near, &other) in nearest.iter_mut().zip(others.iter().rev()) {
                [*near, _] = T::in_order(simd, *near, other);
            }
            exchange!(simd, nearest, 8, 4, 2, 1);
            self.nearest.set(first, &nearest);
        }
    }
}

impl<T: Scalar> Columns<T> {
    fn empty() -> Self {
        Columns {
            distances: [[T::infinity(); LANES]; K],
            indices: [[NONE.into(); LANES]; K],
        }
    }

    /// Empties a place where its distances are NaNs, which have no order.
    #[cold]
    fn empty_nans(&mut self, place: usize) {
        let queries = self.distances[place].iter_mut();
        for (distance, index) in queries.zip(&mut self.indices[place]) {
            if distance.is_nan() {
                (*distance, *index) = (T::infinity(), NONE.into());
            }
        }
    }

    /// Those of the queries from `first` on.
    #[inline(always)]
    fn vectors<S: Simd>(&self, first: usize) -> Vectors<T, S> {
        assert!(first + T::lanes::<S>() <= LANES);
        let load = |place: usize| {
            let distances = self.distances[place][first..].as_ptr();
            let indices = self.indices[place][first..].as_ptr();
            // SAFETY: as many as a vector has lanes follow, and vectors are plain data.
            unsafe {
                (
                    distances.cast::<T::Vector<S>>().read_unaligned(),
                    indices.cast::<T::Indices<S>>().read_unaligned(),
                )
            }
        };
        let mut vectors = [load(0); K];
        for (place, vector) in vectors.iter_mut().enumerate() {
            *vector = load(place);
        }
        vectors
    }

    /// Puts back what [`vectors`](Self::vectors) has taken.
    #[inline(always)]
    fn set<S: Simd>(&mut self, first: usize, vectors: &Vectors<T, S>) {
        assert!(first + T::lanes::<S>() <= LANES);
        for (place, &(d, i)) in vectors.iter().enumerate() {
            let distances = self.distances[place][first..].as_mut_ptr();
            let indices = self.indices[place][first..].as_mut_ptr();
            // SAFETY: as in `vectors`.
            unsafe {
                distances.cast::<T::Vector<S>>().write_unaligned(d);
                indices.cast::<T::Indices<S>>().write_unaligned(i);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few different distances, infinities and NaNs among them, in no order.
    fn distance<T: Scalar>(candidate: u32, lane: usize) -> T {
        let word = (candidate * LANES as u32 + lane as u32).wrapping_mul(2_654_435_761) >> 16;
        match word % 61 {
            0 => T::nan(),
            1 => T::infinity(),
            other => T::of(f64::from(other) - 10.0),
        }
    }

    fn check<T: Scalar>() {
        for k in [1, 5, K] {
            for count in [0, 1, K as u32, 33, 500] {
                let mut lists = Lists::<T>::new(k);
                // Not by ascending index: which of equals comes first must not depend on the order.
                let candidates = || (0..count).map(|c| c * 7 % count.next_power_of_two());
                for (offered, candidate) in candidates().enumerate() {
                    let distances = std::array::from_fn(|lane| distance(candidate, lane));
                    lists.offer(&distances, candidate);
                    if offered == 40 {
                        lists.settle();
                        let mut saved = (vec![T::zero(); k * LANES], vec![0; k * LANES]);
                        lists.save(&mut saved.0, &mut saved.1);
                        lists = Lists::restored(&saved.0, &saved.1);
                    }
                }
                lists.settle();
                for lane in 0..LANES {
                    let distances = candidates().map(|c| (distance::<T>(c, lane), c));
                    let mut expected: Vec<_> = distances.filter(|(d, _)| !d.is_nan()).collect();
                    expected.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
                    let expected = expected.iter().map(|&(_, c)| c);
                    let expected = expected.chain(std::iter::repeat(NONE)).take(k);
                    assert!(
                        lists.of(lane).eq(expected),
                        "{count} candidates, query {lane}"
                    );
                }
            }
        }
    }

    #[test]
    fn lists_hold_the_nearest_in_order_whatever_the_order_they_came_in() {
        check::<f32>();
        check::<f64>();
    }
}
