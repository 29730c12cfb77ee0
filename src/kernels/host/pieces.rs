//! Flat parameters in pieces for the threads that update them.

use std::ops::Range;

/// Pieces that a tensor is cut into for each thread.
const PIECES_PER_THREAD: usize = 4;

/// Every tensor of a flat buffer, cut into equally many pieces.
///
/// Tasks take the same piece of all tensors, one after the other: a thread then updates what it has made
/// the gradients of, a fixed share of each weight's rows (see `gemm.rs`).
pub struct Pieces<'a> {
    /// Where each tensor ends.
    ends: &'a [usize],
    /// Pieces of a tensor.
    per_tensor: usize,
}

impl<'a> Pieces<'a> {
    /// Of tensors that end at `ends`, the last one with the last of `len` parameters.
    ///
    /// Panics if they do not.
    pub fn new(ends: &'a [usize], len: usize, threads: usize) -> Self {
        assert!(
            ends.is_sorted() && ends.last() == Some(&len),
            "tensors that end at {ends:?} are not {len} parameters"
        );
        Pieces {
            ends,
            per_tensor: PIECES_PER_THREAD * threads,
        }
    }

    /// Pieces of all tensors.
    pub fn count(&self) -> usize {
        self.per_tensor * self.ends.len()
    }

    /// A task's piece: whole pairs of cache lines, of which threads should share none.
    pub fn piece(&self, task: usize) -> Range<usize> {
        let (tensor, piece) = (task % self.ends.len(), task / self.ends.len());
        let first = tensor.checked_sub(1).map_or(0, |before| self.ends[before]);
        let last = self.ends[tensor];
        let begin = |piece: usize| match piece {
            0 => first,
            _ if piece == self.per_tensor => last,
            _ => (first + (last - first) * piece / self.per_tensor)
                .next_multiple_of(32)
                .min(last),
        };
        begin(piece)..begin(piece + 1)
    }
}
