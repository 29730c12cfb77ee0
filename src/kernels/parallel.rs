//! How CPU kernels spread over threads and vector lanes.

use std::marker::PhantomData;

use crate::kernels::host::Team;

/// Elements that one task of an elementwise kernel handles: enough to outweigh handing it over.
const CHUNK: usize = 1 << 13;

/// Whole rows that one task of a row-wise kernel handles.
pub(super) fn rows_per_task(cols: usize) -> usize {
    (CHUNK / cols.max(1)).max(1)
}

/// What can be cut into parts that several threads hold at once.
pub(super) trait Parts: Sync {
    /// One part.
    type Part;

    /// How many there are.
    fn count(&self) -> usize;

    /// The part of this index.
    ///
    /// # Safety
    /// No part may be held twice at a time.
    unsafe fn part(&self, index: usize) -> Self::Part;
}

/// A slice in chunks of one size, the last perhaps smaller.
pub(super) struct Chunks<'a, T> {
    start: *mut T,
    len: usize,
    size: usize,
    slice: PhantomData<&'a mut [T]>,
}

/// Cuts a slice into chunks of `size`.
pub(super) fn chunks_of<T>(slice: &mut [T], size: usize) -> Chunks<'_, T> {
    Chunks {
        start: slice.as_mut_ptr(),
        len: slice.len(),
        size: size.max(1),
        slice: PhantomData,
    }
}

// SAFETY: threads only ever get disjoint chunks of it.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T: Send> Parts for Chunks<'a, T> {
    type Part = &'a mut [T];

    fn count(&self) -> usize {
        self.len.div_ceil(self.size)
    }

    unsafe fn part(&self, index: usize) -> &'a mut [T] {
        let first = index * self.size;
        let len = self.size.min(self.len - first);
        // SAFETY: inside the slice, which is borrowed for 'a, and held once by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}

macro_rules! parts_of_tuples {
    ($($name:ident . $index:tt),+) => {
        impl<$($name: Parts),+> Parts for ($($name,)+) {
            type Part = ($($name::Part,)+);

            fn count(&self) -> usize {
                self.0.count()
            }

            unsafe fn part(&self, index: usize) -> Self::Part {
                // SAFETY: the caller's promise, for each.
                unsafe { ($(self.$index.part(index),)+) }
            }
        }
    };
}
parts_of_tuples!(A.0, B.1);
parts_of_tuples!(A.0, B.1, C.2);

/// Calls `task(member, index, part)` for every part, shared out among the team. A tuple's members are
/// cut into equally many.
pub(super) fn each_part<P: Parts>(
    team: &Team,
    parts: P,
    task: impl Fn(usize, usize, P::Part) + Sync,
) {
    team.share_out(parts.count(), |member, index| {
        // SAFETY: every index comes once.
        task(member, index, unsafe { parts.part(index) });
    });
}

/// Calls `work(member, parts)` once for each member that has any parts, each with its index: what `work`
/// prepares is prepared once for all of them. As with [`Team::each_member`].
pub(super) fn each_member<P: Parts>(
    team: &Team,
    parts: P,
    work: impl Fn(usize, &mut dyn Iterator<Item = (usize, P::Part)>) + Sync,
) {
    team.each_member(parts.count(), |member, indices| {
        // SAFETY: every index comes once.
        let part = |index| (index, unsafe { parts.part(index) });
        work(member, &mut indices.map(part));
    });
}

/// Calls `task(first_element, elements)` for chunks of `target` in parallel; chunks begin at
/// multiples of `align`.
pub(crate) fn chunks<T: Send>(
    team: &Team,
    target: &mut [T],
    align: usize,
    task: impl Fn(usize, &mut [T]) + Sync,
) {
    let size = CHUNK.next_multiple_of(align.max(1));
    each_part(team, chunks_of(target, size), |_, index, elements| {
        task(index * size, elements);
    });
}

/// Work on a matrix, column by column, that does WIDTH of them at a time.
pub(super) trait Columns {
    /// Columns `first .. first + WIDTH`. To be inlined: see [`simd`].
    fn run<const WIDTH: usize>(&mut self, first: usize);
}

/// Calls `work` for all columns, in pieces whose sums the compiler can keep in registers (of AVX-512,
/// the largest), and wide enough that memory is read ahead; of wide matrices in pieces whose sums stay in
/// the first-level cache, so that fewer rows, each in another page, are gone through again.
pub(super) fn each_column(cols: usize, mut work: impl Columns) {
    simd(
        #[inline(always)]
        || {
            let mut first = 0;
            while cols - first >= 512 {
                work.run::<512>(first);
                first += 512;
            }
            while cols - first >= 64 {
                work.run::<64>(first);
                first += 64;
            }
            while cols - first >= 32 {
                work.run::<32>(first);
                first += 32;
            }
            while cols - first >= 8 {
                work.run::<8>(first);
                first += 8;
            }
            while cols > first {
                work.run::<1>(first);
                first += 1;
            }
        },
    );
}

/// The columns of a piece of one row.
#[inline(always)]
pub(super) fn piece<T, const WIDTH: usize>(row: &[T], first: usize) -> &[T; WIDTH] {
    row[first..].first_chunk().expect("inside the row")
}

/// Runs a closure compiled for the widest vector unit of this processor. Pass it as
/// `#[inline(always)] || …`: only code inlined into it profits.
///
/// Rust never contracts or reorders floating-point arithmetic, so the width does not change a bit
/// of the result.
#[inline(always)]
pub(super) fn simd<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

/// Evaluates `body` with `NAME` a constant equal to `value`, one of the listed variants: the choice
/// is made once, outside the loops, which then compile to straight vector code.
macro_rules! with_constant {
    (
        $value:expr, $type:ident::{$($variant:ident),+},
        $name:ident => $body:expr $(; $($other:ident)|+ => $otherwise:expr)?
    ) => {
        match $value {
            $($type::$variant => {
                const $name: $type = $type::$variant;
                $body
            })+
            $($($type::$other)|+ => $otherwise,)?
        }
    };
}
pub(super) use with_constant;
