//! Memory by lifetimes: temporaries that are never alive together share a slot.

use super::{Launch, Routine};
use crate::buffer::{Buffer, Element, Lifetime, Slot};

/// Where each buffer lies.
#[derive(Clone, Debug, Default)]
pub struct MemoryMap {
    /// The slots a device allocates.
    pub slots: Vec<Slot>,
    /// The slot of each buffer, in the order of `Plan::buffers`.
    pub slot_of: Vec<usize>,
}

impl MemoryMap {
    /// Gives every buffer that is not temporary a slot of its own, and walks each routine once to pack its
    /// temporaries: a buffer takes the best-fitting slot that is free when it is first touched,
    /// and gives it back after the last launch that touches it. Routines never overlap, so all
    /// of them draw on the same slots.
    pub(super) fn plan(buffers: &[Buffer], routines: &[Routine]) -> MemoryMap {
        const UNPLACED: usize = usize::MAX;
        let mut map = MemoryMap {
            slots: Vec::new(),
            slot_of: vec![UNPLACED; buffers.len()],
        };
        for (id, buffer) in buffers.iter().enumerate() {
            if buffer.lifetime != Lifetime::Temporary {
                map.slot_of[id] = map.add(buffer.element, buffer.len);
            }
        }
        let first_shared = map.slots.len();
        for routine in routines {
            let last_use = last_uses(buffers.len(), &routine.launches);
            let mut free: Vec<usize> = (first_shared..map.slots.len()).collect();
            for (step, launch) in routine.launches.iter().enumerate() {
                let operands = launch.kernel.operands();
                for operand in &operands {
                    let id = operand.view.buffer.0;
                    if map.slot_of[id] == UNPLACED {
                        map.slot_of[id] = map.take(&mut free, &buffers[id]);
                    }
                }
                // Only now may an operand's slot pass on: reads and writes of one launch coexist.
                for operand in &operands {
                    let id = operand.view.buffer.0;
                    let slot = map.slot_of[id];
                    let temporary = buffers[id].lifetime == Lifetime::Temporary;
                    if temporary && last_use[id] == Some(step) && !free.contains(&slot) {
                        free.push(slot);
                    }
                }
            }
        }
        // A temporary that no launch touches needs no memory, but every id needs an answer.
        for (id, buffer) in buffers.iter().enumerate() {
            if map.slot_of[id] == UNPLACED {
                map.slot_of[id] = map.add(buffer.element, 0);
            }
        }
        map
    }

    fn add(&mut self, element: Element, len: usize) -> usize {
        self.slots.push(Slot { element, len });
        self.slots.len() - 1
    }

    /// The smallest free slot that holds the buffer, else the largest free one, grown, else new.
    fn take(&mut self, free: &mut Vec<usize>, buffer: &Buffer) -> usize {
        let fitting = |slot: &usize| self.slots[*slot].element == buffer.element;
        let best =
            free.iter()
                .copied()
                .filter(fitting)
                .min_by_key(|&slot| match self.slots[slot].len {
                    len if len >= buffer.len => (0, len - buffer.len, slot),
                    len => (1, buffer.len - len, slot),
                });
        match best {
            Some(slot) => {
                free.retain(|&other| other != slot);
                self.slots[slot].len = self.slots[slot].len.max(buffer.len);
                slot
            }
            None => self.add(buffer.element, buffer.len),
        }
    }

    /// Bytes a device allocates, where a real is an `f32`.
    pub fn bytes(&self) -> u64 {
        self.slots
            .iter()
            .map(|slot| slot.len as u64 * slot.element.bytes())
            .sum()
    }
}

/// For each buffer the index of the last launch that touches it.
fn last_uses(buffers: usize, launches: &[Launch]) -> Vec<Option<usize>> {
    let mut last = vec![None; buffers];
    for (step, launch) in launches.iter().enumerate() {
        for operand in launch.kernel.operands() {
            last[operand.view.buffer.0] = Some(step);
        }
    }
    last
}
