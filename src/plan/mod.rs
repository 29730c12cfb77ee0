//! The plan: everything a device will ever do, written down before it does it.
//!
//! A [`Plan`] holds named buffers and a few [`Routine`]s (`train`, `evaluate`, `encode`, …),
//! each an ordered list of [`Launch`]es: one kernel over named buffers. Layers append launches
//! through a [`PlanBuilder`]; devices execute them. Because the plan is plain data, memory is
//! planned once, costs are known exactly, and two devices cannot run different programs.

mod builder;
mod label;
mod memory;
mod prune;

pub use builder::{PlanBuilder, PlanError};
pub use label::{Label, Pass};
pub use memory::MemoryMap;

use std::sync::Arc;

use crate::buffer::{Buffer, BufferId, Cost, Element, Operand, View};
use crate::kernels::{AnyKernel, used};

/// One kernel launch, labelled with the layer that emitted it.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What it is part of.
    pub label: Label,
    /// The kernel with its dimensions and operands.
    pub kernel: Arc<dyn AnyKernel>,
}

impl Launch {
    /// `a [128, 784], b [784, 512], …`
    pub fn shapes(&self) -> String {
        let operands = self.operands().into_iter();
        let shapes = operands.map(|operand| format!("{} {:?}", operand.name, operand.shape()));
        shapes.collect::<Vec<_>>().join(", ")
    }

    /// The kernel's operands but those that only fill a binding.
    pub fn operands(&self) -> Vec<Operand> {
        used(self.kernel.operands())
    }

    /// Panics if the kernel writes a view that it also touches otherwise.
    fn check_operands(&self) {
        let operands = self.kernel.operands();
        for (i, written) in operands.iter().enumerate() {
            for (j, other) in operands.iter().enumerate() {
                assert!(
                    i == j || !written.is_written() || !written.view.overlaps(other.view),
                    "{}: `{}` is written and overlaps `{}`",
                    self.label,
                    written.name,
                    other.name
                );
            }
        }
    }
}

/// An ordered list of launches that runs as a whole.
#[derive(Clone, Debug)]
pub struct Routine {
    /// Its name, unique in the plan.
    pub name: String,
    /// The launches, in execution order.
    pub launches: Vec<Launch>,
    /// Launches that were emitted and dropped, because their results are not read; no device executes them.
    pub dropped: Vec<Dropped>,
}

/// A launch whose results neither a later launch nor the host reads.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// How many of the routine's launches were emitted before it.
    pub place: usize,
    /// The launch.
    pub launch: Launch,
}

impl Routine {
    /// Every launch in the order of emission, with whether it was dropped.
    pub fn emitted(&self) -> Vec<(&Launch, bool)> {
        let mut all: Vec<(&Launch, bool)> = Vec::new();
        let mut kept = self.launches.iter().map(|launch| (launch, false));
        for dropped in &self.dropped {
            let before = dropped.place - all.len();
            all.extend(kept.by_ref().take(before));
            all.push((&dropped.launch, true));
        }
        all.extend(kept);
        all
    }
}

/// Index of a routine in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoutineId(pub(crate) usize);

/// Buffers, where they lie in memory, and the routines over them.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All buffers; a [`BufferId`] indexes this list.
    pub buffers: Vec<Buffer>,
    /// All routines; a [`RoutineId`] indexes this list.
    pub routines: Vec<Routine>,
    /// Routines that were begun; what follows them are single launches.
    together: usize,
    /// Which slot of memory each buffer occupies.
    pub memory: MemoryMap,
    /// Elements on either side of every buffer that no launch may touch.
    guard: usize,
}

impl Plan {
    /// What no launch may touch: two views for every buffer of a [guarded](PlanBuilder::guarded) plan.
    pub fn guards(&self) -> Vec<View> {
        let sides = |(id, buffer): (usize, &Buffer)| {
            [0, buffer.len - self.guard].map(|offset| View {
                buffer: BufferId(id),
                offset,
                len: self.guard,
            })
        };
        self.buffers.iter().enumerate().flat_map(sides).collect()
    }

    /// A buffer beyond all others, for what a device needs besides.
    pub fn scratch(&self) -> BufferId {
        BufferId(self.buffers.len())
    }

    /// The buffer a view looks into.
    pub fn buffer(&self, view: View) -> &Buffer {
        &self.buffers[view.buffer.0]
    }

    /// The views of reals that a launch writes.
    pub fn written_reals(&self, launch: &Launch) -> impl Iterator<Item = View> {
        let operands = launch.kernel.operands().into_iter();
        let written = operands.filter(|operand| operand.is_written());
        let views = written.map(|operand| operand.view);
        views.filter(|&view| self.buffer(view).element == Element::Real)
    }

    /// The launches of one routine.
    pub fn launches(&self, routine: RoutineId) -> &[Launch] {
        &self.routines[routine.0].launches
    }

    /// The routine that is nothing but one launch of another.
    ///
    /// Panics unless the plan was [taken apart](PlanBuilder::taken_apart).
    pub fn apart(&self, routine: RoutineId, launch: usize) -> RoutineId {
        assert!(self.together < self.routines.len(), "the plan is whole");
        let before = self.routines[..routine.0].iter();
        let before: usize = before.map(|routine| routine.launches.len()).sum();
        RoutineId(self.together + before + launch)
    }

    /// FLOPs and bytes of one run of a routine.
    pub fn cost(&self, routine: RoutineId) -> Cost {
        self.launches(routine)
            .iter()
            .map(|launch| launch.kernel.cost())
            .sum()
    }
}
