//! The vote of the nearest neighbours.

/// The commonest label among a query's `neighbours`' labels, nearest first; where labels are
/// equally common, the one whose first vote is nearest.
pub fn majority(labels: impl Iterator<Item = u8> + Clone) -> Option<u8> {
    let votes = |label: u8| labels.clone().filter(|&other| other == label).count();
    let most = labels.clone().map(votes).max()?;
    labels.clone().find(|&label| votes(label) == most)
}

#[cfg(test)]
mod tests {
    use super::majority;

    #[test]
    fn the_commonest_label_wins_and_a_tie_goes_to_the_nearest() {
        assert_eq!(majority([3, 7, 7].into_iter()), Some(7));
        assert_eq!(majority([3, 7, 7, 3].into_iter()), Some(3));
        assert_eq!(majority([3, 7, 9].into_iter()), Some(3));
        assert_eq!(majority([].into_iter()), None);
    }
}
