//! Which examples keep their labels when only a few may.
//!
//! A draw is an ordered list of examples. Its first `N` are the draw of size `N`, so that larger
//! sets contain the smaller ones and a curve over `N` shows the effect of more labels rather than
//! of other labels.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DataError, check_labels};

/// Most indices that are drawn in one call: 256 MiB of `u32`.
const MAX_INDICES: usize = 1 << 26;

/// How labelled examples are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// Every set of `N` examples is equally likely; classes are present as chance has it.
    #[default]
    Uniform,
    /// Every class gets the same number of labels, give or take one.
    Balanced,
}

/// Draws `draws` lists of distinct indices into `labels`, each as long as the largest of `sizes`.
///
/// The first `N` indices of a list are themselves a draw of `N`: uniform over all sets of `N`
/// examples, or balanced, with `N / classes` of each class where that is whole and otherwise counts
/// that differ by at most one. A list depends on nothing but `labels`, `classes`, `sampling`,
/// `seed` and its own position: asking for more draws or for a larger size only adds to it.
///
/// # Errors
///
/// - [`DataError::DrawSizes`] if `sizes` is empty or contains 0;
/// - [`DataError::LabelRange`] if a label is not below `classes`;
/// - [`DataError::TooFew`] or [`DataError::TooFewOfClass`] if a size exceeds what `labels` holds;
/// - [`DataError::TooManyDraws`] if the lists, or the labels, are too many to be held as `u32`.
pub fn nested_draws(
    labels: &[u8],
    classes: usize,
    sizes: &[usize],
    draws: usize,
    sampling: Sampling,
    seed: u64,
) -> Result<Vec<Vec<u32>>, DataError> {
    let size = match sizes.iter().max() {
        Some(&size) if !sizes.contains(&0) => size,
        _ => {
            return Err(DataError::DrawSizes {
                sizes: sizes.to_vec(),
            });
        }
    };
    check_labels("the labels to draw from", labels.len(), labels, classes)?;
    let pools = match sampling {
        Sampling::Uniform => whole(labels, size)?,
        Sampling::Balanced => by_class(labels, classes, size)?,
    };
    if draws.saturating_mul(size) > MAX_INDICES || u32::try_from(labels.len()).is_err() {
        return Err(DataError::TooManyDraws {
            draws,
            size,
            examples: labels.len(),
            limit: MAX_INDICES,
        });
    }
    let draw = |draw| in_rounds(pools.clone(), size, &mut Stream::new(seed, draw));
    Ok((0..draws as u64).map(draw).collect())
}

/// All examples in one pool, if there are `size`.
fn whole(labels: &[u8], size: usize) -> Result<Vec<Vec<u32>>, DataError> {
    let available = labels.len();
    match size <= available {
        true => Ok(vec![(0..available as u32).collect()]),
        false => Err(DataError::TooFew { size, available }),
    }
}

/// The examples of each class, if there are enough for `size` of them in all.
fn by_class(labels: &[u8], classes: usize, size: usize) -> Result<Vec<Vec<u32>>, DataError> {
    // A byte names 256 classes. One more, empty, is enough to report a larger number of classes.
    let mut pools = vec![Vec::new(); classes.min(257)];
    for (index, &label) in labels.iter().enumerate() {
        pools[usize::from(label)].push(index as u32);
    }
    // A last round that is not full may fall on any class.
    let needed = size.div_ceil(classes.max(1));
    match pools.iter().position(|pool| pool.len() < needed) {
        None if !pools.is_empty() => Ok(pools),
        class => {
            let class = class.unwrap_or(0);
            Err(DataError::TooFewOfClass {
                size,
                class,
                needed,
                available: pools.get(class).map_or(0, Vec::len),
            })
        }
    }
}

/// Takes one example of each pool per round, until there are `size`.
///
/// Each round visits the pools in a new order; else the classes visited first would have one more
/// label than the others whenever a round is not full. One pool makes this a plain shuffle.
fn in_rounds(mut pools: Vec<Vec<u32>>, size: usize, stream: &mut Stream) -> Vec<u32> {
    let mut order: Vec<usize> = (0..pools.len()).collect();
    let place = |place| {
        let (round, visit) = (place / order.len(), place % order.len());
        let pool = stream.choose(&mut order, visit);
        stream.choose(&mut pools[pool], round)
    };
    (0..size).map(place).collect()
}

/// The random numbers of one draw: ChaCha8 with the seed as its key, and one stream per draw.
///
/// This, and the two methods below, define every draw without any generator's default seeding or
/// shuffle, which new versions of a library may change.
pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    pub(super) fn new(seed: u64, draw: u64) -> Stream {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(draw);
        Stream(generator)
    }

    /// A number below `bound`, which is below 2^32, so that the bias is below 2^-32.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Step `at` of a Fisher-Yates shuffle: brings a random one of `items[at..]` to `at`.
    pub(super) fn choose<T: Copy>(&mut self, items: &mut [T], at: usize) -> T {
        items.swap(at, at + self.below(items.len() - at));
        items[at]
    }
}

#[cfg(test)]
mod tests {
    use super::Sampling::{Balanced, Uniform};
    use super::*;

    /// `count` labels of classes 0, 1, ... `classes - 1`, in turn.
    fn labels(count: usize, classes: usize) -> Vec<u8> {
        (0..count).map(|index| (index % classes) as u8).collect()
    }

    fn counts(draw: &[u32], labels: &[u8], classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for &index in draw {
            counts[usize::from(labels[index as usize])] += 1;
        }
        counts
    }

    #[test]
    fn a_draw_holds_distinct_indices() {
        let labels = labels(50, 5);
        for sampling in [Uniform, Balanced] {
            for mut draw in nested_draws(&labels, 5, &[10, 50], 20, sampling, 1).unwrap() {
                draw.sort();
                assert!(draw.into_iter().eq(0..50), "all fifty, each once");
            }
        }
    }

    #[test]
    fn draws_are_pinned_across_versions() {
        let labels = labels(1000, 10);
        let first = |sampling| nested_draws(&labels, 10, &[6], 2, sampling, 7).unwrap();
        // From another implementation, written from the definition of ChaCha.
        let uniform = [[465, 302, 337, 196, 952, 652], [281, 796, 545, 321, 5, 84]];
        let balanced = [[467, 301, 335, 192, 950, 658], [289, 790, 548, 317, 1, 74]];
        assert_eq!(first(Uniform), uniform);
        assert_eq!(first(Balanced), balanced);
    }

    #[test]
    fn more_draws_and_larger_sizes_only_add() {
        let labels = labels(100, 10);
        for sampling in [Uniform, Balanced] {
            let few = nested_draws(&labels, 10, &[13], 3, sampling, 5).unwrap();
            let many = nested_draws(&labels, 10, &[13, 64], 8, sampling, 5).unwrap();
            for (few, many) in few.iter().zip(&many) {
                assert_eq!(few[..], many[..13]);
            }
        }
    }

    #[test]
    fn seeds_and_draws_differ() {
        let draws = |seed| nested_draws(&labels(1000, 10), 10, &[20], 2, Uniform, seed).unwrap();
        let (one, two) = (draws(1), draws(2));
        assert_ne!(one[0], one[1]);
        assert_ne!(one[0], two[0]);
        assert_ne!(one[1], two[0]);
    }

    #[test]
    fn every_example_is_as_likely_as_any_other() {
        for sampling in [Uniform, Balanced] {
            let mut hits = [0_i32; 20];
            let labels = labels(20, 4);
            for draw in nested_draws(&labels, 4, &[5], 8000, sampling, 3).unwrap() {
                draw.iter().for_each(|&index| hits[index as usize] += 1);
            }
            // 8000 draws of a quarter of the examples: 2000 hits each, standard deviation 39.
            let worst = hits.iter().map(|hits| (hits - 2000).abs()).max().unwrap();
            assert!(worst < 200, "{hits:?}");
        }
    }

    #[test]
    fn a_uniform_prefix_has_the_class_counts_of_chance() {
        let labels = labels(20, 2);
        let draws = nested_draws(&labels, 2, &[2, 20], 8000, Uniform, 4).unwrap();
        let mixed = draws
            .iter()
            .filter(|draw| counts(&draw[..2], &labels, 2) == [1, 1])
            .count();
        // Ten of the nineteen others are of the other class: 4210 draws, standard deviation 45.
        assert!((4000..4420).contains(&mixed), "{mixed}");
    }

    #[test]
    fn every_prefix_of_a_balanced_draw_is_balanced() {
        let labels = labels(60, 3);
        for draw in nested_draws(&labels, 3, &[60], 20, Balanced, 6).unwrap() {
            for size in 1..=60 {
                let counts = counts(&draw[..size], &labels, 3);
                let (low, high) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                assert!(high - low <= 1, "{counts:?}");
                assert_eq!(*high, size.div_ceil(3));
            }
        }
    }

    #[test]
    fn sizes_beyond_the_labels_are_errors() {
        let error = nested_draws(&[0, 1, 1], 2, &[2, 4], 1, Uniform, 0).unwrap_err();
        assert!(
            error.to_string().contains("needs 4 examples, found 3"),
            "{error}"
        );
        let error = nested_draws(&[0, 1, 1], 2, &[3], 1, Balanced, 0).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("needs 2 examples of class 0, found 1"),
            "{text}"
        );
    }

    #[test]
    fn classes_that_no_label_has_are_errors_for_balanced_draws_only() {
        for classes in [3, 1000, usize::MAX] {
            let draw = |sampling| nested_draws(&[0, 1, 1], classes, &[1], 1, sampling, 0);
            assert!(draw(Uniform).is_ok());
            let error = draw(Balanced).unwrap_err();
            assert!(matches!(error, DataError::TooFewOfClass { class: 2, .. }));
        }
    }

    #[test]
    fn no_sizes_zero_sizes_no_labels_and_no_classes_are_errors() {
        for sampling in [Uniform, Balanced] {
            for sizes in [&[][..], &[0], &[2, 0]] {
                let error = nested_draws(&[0, 1], 2, sizes, 1, sampling, 0).unwrap_err();
                assert!(matches!(error, DataError::DrawSizes { .. }), "{error}");
            }
            assert!(nested_draws(&[], 2, &[1], 1, sampling, 0).is_err());
            assert!(nested_draws(&[], 0, &[1], 1, sampling, 0).is_err());
            assert!(nested_draws(&[0], 0, &[1], 1, sampling, 0).is_err());
        }
    }

    #[test]
    fn a_label_out_of_range_is_an_error() {
        let error = nested_draws(&[0, 5], 2, &[1], 1, Uniform, 0).unwrap_err();
        assert!(error.to_string().contains("label 5 at index 1"), "{error}");
    }

    #[test]
    fn more_draws_than_memory_are_an_error() {
        let error = nested_draws(&[0, 1], 2, &[2], usize::MAX, Uniform, 0).unwrap_err();
        assert!(matches!(error, DataError::TooManyDraws { .. }), "{error}");
    }

    #[test]
    fn sampling_is_written_in_lower_case() {
        for (sampling, text) in [(Uniform, "\"uniform\""), (Balanced, "\"balanced\"")] {
            assert_eq!(serde_json::to_string(&sampling).unwrap(), text);
            assert_eq!(serde_json::from_str::<Sampling>(text).unwrap(), sampling);
        }
        assert!(serde_json::from_str::<Sampling>("\"Uniform\"").is_err());
    }
}
