//! Asking for memory before it is needed.

/// To be read at once.
pub(super) const READ: u8 = 0;
/// To be read after other work: into the second-level cache.
pub(super) const READ_LATER: u8 = 1;
/// To be written at once.
pub(super) const WRITE: u8 = 2;

/// Elements of a cache line.
pub(super) const fn line<T>() -> usize {
    64 / size_of::<T>()
}

/// Asks for the cache line of `place`, which may lie anywhere. Does nothing where no instruction is known.
#[inline(always)]
pub(super) fn prefetch<const USE: u8, T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let place = place.cast();
        // SAFETY: a hint; it neither reads nor faults.
        unsafe {
            match USE {
                READ => _mm_prefetch::<_MM_HINT_T0>(place),
                READ_LATER => _mm_prefetch::<_MM_HINT_T1>(place),
                _ => _mm_prefetch::<_MM_HINT_ET0>(place),
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
