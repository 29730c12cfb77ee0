//! What is tested on where the data itself does not say.

use super::DataError;
use super::draws::Stream;

/// The stream of random numbers that is a split's own: label draws count theirs from 0.
const STREAM: u64 = u64::MAX;

/// The numbers below `count` in an order that depends on nothing but `count` and `seed`.
pub(super) fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut stream = Stream::new(seed, STREAM);
    for at in 0..count {
        stream.choose(&mut order, at);
    }
    order
}

/// How many of `count` images are tested on: that part of them, at least one, and not all.
pub(super) fn test_count(origin: &str, count: usize, part: f64) -> Result<usize, DataError> {
    match count {
        0 | 1 => Err(DataError::TooFewToSplit {
            origin: origin.to_owned(),
            found: count,
        }),
        _ => Ok(((count as f64 * part).round() as usize).clamp(1, count - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_every_number_once_and_follows_the_seed() {
        let order = shuffled(100, 3);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100));
        assert_eq!(order, shuffled(100, 3));
        assert_ne!(order, shuffled(100, 4));
    }

    #[test]
    fn both_sides_of_a_split_get_an_image() {
        let count = |count, part| test_count("here", count, part);
        assert_eq!(count(100, 0.1).unwrap(), 10);
        assert_eq!(count(2, 0.001).unwrap(), 1);
        assert_eq!(count(10, 0.999).unwrap(), 9);
        let error = count(1, 0.5).unwrap_err().to_string();
        assert!(error.contains("1 image(s), expected at least 2"), "{error}");
    }
}
