//! Which launches a plan drops: those whose results neither a later launch nor the host reads.
//!
//! Layers emit all gradients that they have. Which of them are read is known when the plan is whole:
//! each routine is walked from its last launch to its first, with the elements that are still to be
//! read. A launch that writes none of them is dropped, so what it alone would have read is not needed
//! either: the gradient of an image goes, and with it whatever only computes it.

use std::collections::HashMap;
use std::ops::Range;

use super::{Dropped, Launch, Routine};
use crate::buffer::{Access, Buffer, Lifetime, View};

/// Elements of buffers, as ranges that do not overlap.
#[derive(Clone, Default, PartialEq)]
struct Elements(HashMap<usize, Vec<Range<usize>>>);

impl Elements {
    fn contains_any(&self, view: View) -> bool {
        let ranges = self.0.get(&view.buffer.0);
        ranges.is_some_and(|ranges| {
            let end = view.offset + view.len;
            ranges.iter().any(|r| r.start < end && view.offset < r.end)
        })
    }

    fn remove(&mut self, view: View) {
        let Some(ranges) = self.0.get_mut(&view.buffer.0) else {
            return;
        };
        let (start, end) = (view.offset, view.offset + view.len);
        let rest = ranges
            .iter()
            .flat_map(|r| [r.start..r.end.min(start), r.start.max(end)..r.end]);
        *ranges = rest.filter(|range| !range.is_empty()).collect();
    }

    fn insert(&mut self, view: View) {
        if view.len > 0 {
            self.remove(view);
            let ranges = self.0.entry(view.buffer.0).or_default();
            ranges.push(view.offset..view.offset + view.len);
        }
    }

    fn insert_all(&mut self, other: &Elements, of: impl Fn(usize) -> bool) {
        for (&buffer, ranges) in other.0.iter().filter(|(buffer, _)| of(**buffer)) {
            for range in ranges {
                self.insert(View {
                    buffer: crate::buffer::BufferId(buffer),
                    offset: range.start,
                    len: range.len(),
                });
            }
        }
    }

    fn count(&self) -> usize {
        self.0.values().flatten().map(|range| range.len()).sum()
    }
}

/// Which of a routine's launches are read, if the elements in `needed` are read after it. What is read
/// before the routine has written it is in `needed` afterwards.
fn walk(buffers: &[Buffer], launches: &[Launch], needed: &mut Elements) -> Vec<bool> {
    let mut live = vec![false; launches.len()];
    for (launch, live) in launches.iter().zip(&mut live).rev() {
        let operands = launch.kernel.operands();
        let by_host = |view: View| buffers[view.buffer.0].lifetime == Lifetime::Persistent;
        let mut written = operands.iter().filter(|operand| operand.is_written());
        *live = written.any(|operand| by_host(operand.view) || needed.contains_any(operand.view));
        if !*live {
            continue;
        }
        for operand in operands.iter().filter(|o| o.access == Access::Write) {
            needed.remove(operand.view);
        }
        for operand in operands.iter().filter(|operand| operand.is_read()) {
            needed.insert(operand.view);
        }
    }
    live
}

/// For each launch of each routine, whether a later launch or the host reads what it writes.
pub(super) fn live(buffers: &[Buffer], routines: &[Routine]) -> Vec<Vec<bool>> {
    let internal = |buffer: usize| buffers[buffer].lifetime == Lifetime::Internal;
    // Any routine may follow any other, and itself: what one of them finds in an internal buffer is
    // needed at the end of all.
    let mut at_the_end = Elements::default();
    loop {
        let mut found = at_the_end.clone();
        let mut live = Vec::new();
        for routine in routines {
            let mut needed = at_the_end.clone();
            live.push(walk(buffers, &routine.launches, &mut needed));
            found.insert_all(&needed, internal);
        }
        if found.count() == at_the_end.count() {
            return live;
        }
        at_the_end = found;
    }
}

/// Takes the launches whose results are not read out of their routines.
pub(super) fn drop_unread(buffers: &[Buffer], routines: &mut [Routine]) {
    let live = live(buffers, routines);
    for (routine, live) in routines.iter_mut().zip(live) {
        let launches = std::mem::take(&mut routine.launches);
        for (place, (launch, live)) in launches.into_iter().zip(live).enumerate() {
            if live {
                routine.launches.push(launch);
            } else {
                routine.dropped.push(Dropped { place, launch });
            }
        }
    }
}
