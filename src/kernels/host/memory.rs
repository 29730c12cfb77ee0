//! The CPU's memory: buffers in their slots, and scratch memory for each thread.

use std::sync::{Arc, Mutex};

use aligned_vec::{AVec, ConstAlign, avec};

use super::{Products, Team};
use crate::buffer::{Element, Slot, View};
use crate::scalar::Scalar;

/// Two cache lines: the widest vectors never straddle one, and threads share none.
const LINE: usize = 128;
/// Memory that begins with a cache line.
type Lines<E> = AVec<E, ConstAlign<LINE>>;

/// All buffers of one element type, by memory slot.
pub struct Table<E> {
    slot_of: Arc<[usize]>,
    slots: Vec<Lines<E>>,
}

impl<E: Copy + Default> Table<E> {
    fn new(element: Element, slot_of: Arc<[usize]>, slots: &[Slot]) -> Self {
        let slots = slots.iter().map(|slot| {
            let len = if slot.element == element { slot.len } else { 0 };
            avec![[LINE]| E::default(); len]
        });
        Table {
            slots: slots.collect(),
            slot_of,
        }
    }

    /// The elements of one view.
    pub fn read(&self, view: View) -> &[E] {
        &self.slots[self.slot_of[view.buffer.0]][view.offset..][..view.len]
    }

    /// The elements of one view, to be changed.
    pub fn write(&mut self, view: View) -> &mut [E] {
        &mut self.slots[self.slot_of[view.buffer.0]][view.offset..][..view.len]
    }

    /// The operands of a launch, all at once: some to read, some to write.
    ///
    /// Panics where a written view overlaps another; the plan's builder has ruled that out for
    /// buffers, and its memory map for the slots beneath them.
    pub fn access<const R: usize, const W: usize>(
        &mut self,
        reads: [View; R],
        writes: [View; W],
    ) -> ([&[E]; R], [&mut [E]; W]) {
        let slot_of = &self.slot_of;
        let mut read: [&[E]; R] = [&[]; R];
        let mut written: [&mut [E]; W] = std::array::from_fn(|_| &mut [][..]);
        for (slot, elements) in self.slots.iter_mut().enumerate() {
            let here = |view: &View| slot_of[view.buffer.0] == slot;
            if !writes.iter().any(here) {
                let elements: &[E] = elements;
                for (target, view) in read.iter_mut().zip(&reads) {
                    if here(view) {
                        *target = &elements[view.offset..][..view.len];
                    }
                }
                continue;
            }
            // Cut the slot into its views from left to right.
            let mut rest = elements.as_mut_slice();
            let mut cut = 0;
            loop {
                let ahead = |view: &View| here(view) && view.offset >= cut && view.len > 0;
                let next_read = (0..R)
                    .filter(|&i| ahead(&reads[i]))
                    .min_by_key(|&i| reads[i].offset);
                let next_write = (0..W)
                    .filter(|&i| ahead(&writes[i]))
                    .min_by_key(|&i| writes[i].offset);
                let view = match (next_read, next_write) {
                    (None, None) => break,
                    (Some(i), None) => reads[i],
                    (None, Some(j)) => writes[j],
                    (Some(i), Some(j)) if reads[i].offset < writes[j].offset => reads[i],
                    (Some(_), Some(j)) => writes[j],
                };
                let (_, from_view) = rest.split_at_mut(view.offset - cut);
                let (piece, after) = from_view.split_at_mut(view.len);
                rest = after;
                cut = view.offset + view.len;
                if let Some(j) = next_write.filter(|&j| writes[j] == view) {
                    written[j] = piece;
                } else {
                    let piece: &[E] = piece;
                    for (target, other) in read.iter_mut().zip(&reads) {
                        if *other == view {
                            *target = piece;
                        }
                    }
                }
            }
        }
        for (got, view) in read.iter().map(|r| r.len()).zip(&reads) {
            assert_eq!(got, view.len, "a read view overlaps a written one");
        }
        for (got, view) in written.iter().map(|w| w.len()).zip(&writes) {
            assert_eq!(got, view.len, "two written views overlap");
        }
        (read, written)
    }
}

/// Scratch memory that a kernel needs for each thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScratchSize {
    /// Reals.
    pub reals: usize,
    /// Places in a buffer.
    pub places: usize,
}

/// Scratch memory, a piece for each member of the team, as large as any kernel of the plan asks for.
pub struct Scratch<T>(Vec<Mutex<(Lines<T>, Vec<usize>)>>);

impl<T: Scalar> Scratch<T> {
    fn new(members: usize, size: ScratchSize) -> Self {
        let piece = || (avec![[LINE]| T::zero(); size.reals], vec![0; size.places]);
        Scratch((0..members).map(|_| Mutex::new(piece())).collect())
    }

    /// Lends a member's piece, with whatever it holds.
    ///
    /// Panics if the kernel asked for less, or if it lends it twice at a time.
    pub fn with<R>(
        &self,
        member: usize,
        size: ScratchSize,
        work: impl FnOnce(&mut [T], &mut [usize]) -> R,
    ) -> R {
        // Only one thread at a time goes under this number, so this never waits.
        let mut piece = self.0[member]
            .try_lock()
            .expect("a kernel lends its scratch memory once at a time");
        let (reals, places) = &mut *piece;
        work(&mut reals[..size.reals], &mut places[..size.places])
    }
}

/// The CPU device's memory: a table per element type, so that a kernel can borrow from each.
pub struct Memory<T> {
    /// Reals.
    pub real: Table<T>,
    /// Indices and counters.
    pub index: Table<u32>,
    /// Bytes.
    pub bytes: Table<u8>,
    /// What kernels need while they run.
    pub scratch: Scratch<T>,
    /// The threads that a kernel's tasks are shared out to.
    pub team: Arc<Team>,
    /// Whose code multiplies matrices.
    pub products: Products,
}

impl<T: Scalar> Memory<T> {
    /// Zeroed slots, the slot of each buffer, and as much scratch memory for each of the team's threads.
    pub fn new(
        slots: &[Slot],
        slot_of: Arc<[usize]>,
        scratch: ScratchSize,
        team: Arc<Team>,
        products: Products,
    ) -> Self {
        Memory {
            real: Table::new(Element::Real, slot_of.clone(), slots),
            index: Table::new(Element::Index, slot_of.clone(), slots),
            bytes: Table::new(Element::Byte, slot_of, slots),
            scratch: Scratch::new(team.threads(), scratch),
            team,
            products,
        }
    }
}
