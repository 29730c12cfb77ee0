//! The builder that layers emit launches into.

use std::sync::Arc;

use thiserror::Error;

use super::{Label, Launch, MemoryMap, Plan, Routine, RoutineId, prune};
use crate::buffer::{Buffer, BufferId, Element, Lifetime, Matrix, View};
use crate::kernels::{AnyKernel, Kernel};

/// Views into a shared buffer start at multiples of this many reals: 256 bytes, the strictest
/// alignment that WebGPU asks of a storage binding.
const ALIGNMENT: usize = 64;

/// Elements of a guard: 256 bytes where an element is a byte, so that bindings stay aligned.
const GUARD: usize = 256;

/// A plan that cannot be carried out.
#[derive(Debug, Error)]
pub enum PlanError {
    /// More memory than the machine has.
    #[error(
        "the plan needs {needed} MiB of memory (largest buffer: `{largest}`, {largest_mib} MiB) \
         but at most {limit} MiB are available\nhint: make the model, the batch or the data set smaller"
    )]
    TooLarge {
        /// MiB needed.
        needed: u64,
        /// Name of the largest buffer.
        largest: String,
        /// Its size in MiB.
        largest_mib: u64,
        /// MiB available.
        limit: u64,
    },
}

/// Collects buffers and launches, then plans the memory.
#[derive(Clone, Debug, Default)]
pub struct PlanBuilder {
    buffers: Vec<Buffer>,
    routines: Vec<Routine>,
    /// Elements on either side of every buffer that no view reaches.
    guard: usize,
    /// Whether every launch is also to be a routine of its own.
    apart: bool,
    /// Zeros that no launch changes.
    zeros: Option<BufferId>,
}

impl PlanBuilder {
    /// An empty plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty plan that gives every buffer memory of its own, with a few elements on either side
    /// that no view reaches. A test fills these guards: if one has changed after a run, or a result contains
    /// their contents, an access was out of bounds. [`Plan::guards`] says where they are.
    pub fn guarded() -> Self {
        PlanBuilder {
            guard: GUARD,
            ..Self::default()
        }
    }

    /// An empty plan in which every launch is also a routine of its own, [`Plan::apart`], so that it
    /// can be run many times at once: for timing.
    pub fn taken_apart() -> Self {
        PlanBuilder {
            apart: true,
            ..Self::default()
        }
    }

    fn buffer(&mut self, name: String, element: Element, len: usize, lifetime: Lifetime) -> View {
        self.buffers.push(Buffer {
            name,
            element,
            len: len + self.guard,
            lifetime: match self.guard {
                0 => lifetime,
                _ => Lifetime::Persistent,
            },
        });
        View {
            buffer: BufferId(self.buffers.len() - 1),
            offset: self.guard,
            len,
        }
    }

    /// A buffer that keeps its contents across routines.
    pub fn persistent(&mut self, name: impl Into<String>, element: Element, len: usize) -> View {
        self.buffer(name.into(), element, len, Lifetime::Persistent)
    }

    /// Reals that live only inside one routine; their memory is reused.
    pub fn temporary(&mut self, name: impl Into<String>, len: usize) -> View {
        self.buffer(name.into(), Element::Real, len, Lifetime::Temporary)
    }

    /// Indices that live only inside one routine.
    pub fn temporary_indices(&mut self, name: impl Into<String>, len: usize) -> View {
        self.buffer(name.into(), Element::Index, len, Lifetime::Temporary)
    }

    /// A temporary `[rows, cols]` matrix.
    pub fn temporary_matrix(
        &mut self,
        name: impl Into<String>,
        rows: usize,
        cols: usize,
    ) -> Matrix {
        self.temporary(name, rows * cols).matrix(rows, cols)
    }

    /// Keeps a temporary's contents after the routine, for the host to read.
    pub fn keep(&mut self, view: View) {
        self.buffers[view.buffer.0].lifetime = Lifetime::Persistent;
    }

    /// An empty persistent buffer of reals for [`grow`](Self::grow): flat parameters, say.
    pub fn growable(&mut self, name: impl Into<String>) -> BufferId {
        self.persistent(name, Element::Real, 0).buffer
    }

    /// The same for gradients: every launch finds them as the launch before has left them, and the host does
    /// not read them, unless they are [kept](Self::keep).
    pub fn growable_gradients(&mut self, name: impl Into<String>) -> BufferId {
        self.buffer(name.into(), Element::Real, 0, Lifetime::Internal)
            .buffer
    }

    /// Zeros that no launch changes.
    pub fn zeros(&mut self, len: usize) -> View {
        let buffer = *self.zeros.get_or_insert_with(|| {
            self.buffers.push(Buffer {
                name: "zeros".to_owned(),
                element: Element::Real,
                len: self.guard,
                lifetime: Lifetime::Internal,
            });
            BufferId(self.buffers.len() - 1)
        });
        let total = &mut self.buffers[buffer.0].len;
        *total = (*total).max(self.guard + len);
        View {
            buffer,
            offset: self.guard,
            len,
        }
    }

    /// Appends `len` elements to a growable buffer, at an offset every device can bind.
    pub fn grow(&mut self, buffer: BufferId, len: usize) -> View {
        let total = &mut self.buffers[buffer.0].len;
        let offset = total.next_multiple_of(ALIGNMENT);
        *total = offset.saturating_add(len);
        View {
            buffer,
            offset,
            len,
        }
    }

    /// All of a buffer, as large as it is now.
    pub fn whole(&self, buffer: BufferId) -> View {
        View {
            buffer,
            offset: self.guard,
            len: self.buffers[buffer.0].len - self.guard,
        }
    }

    /// Starts a routine: launches go to it until the next begins.
    pub fn begin(&mut self, name: impl Into<String>) -> RoutineId {
        self.routines.push(Routine {
            name: name.into(),
            launches: Vec::new(),
            dropped: Vec::new(),
        });
        RoutineId(self.routines.len() - 1)
    }

    /// Appends a launch to the routine begun last.
    ///
    /// Panics if no routine has begun, or if the kernel writes a view that it also touches
    /// otherwise: both are mistakes in the emitting layer, not in anything a user can write.
    pub fn launch(&mut self, label: impl Into<Label>, kernel: impl Kernel) {
        self.launch_any(label, Arc::new(kernel));
    }

    /// [`launch`](Self::launch) of a kernel whose type is not known here.
    pub fn launch_any(&mut self, label: impl Into<Label>, kernel: Arc<dyn AnyKernel>) {
        let label = label.into();
        let launch = Launch { label, kernel };
        launch.check_operands();
        self.routines
            .last_mut()
            .expect("a routine has begun")
            .launches
            .push(launch);
    }

    /// All of the buffer of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<View> {
        let found = self.buffers.iter().position(|buffer| buffer.name == name);
        found.map(|id| self.whole(BufferId(id)))
    }

    /// A routine's name.
    pub fn name(&self, routine: RoutineId) -> &str {
        &self.routines[routine.0].name
    }

    /// For each launch of a routine, whether a later launch or the host reads what it writes.
    pub fn live(&self, routine: RoutineId) -> Vec<bool> {
        prune::live(&self.buffers, &self.routines).swap_remove(routine.0)
    }

    /// The launches of a routine so far.
    pub fn launches(&self, routine: RoutineId) -> &[Launch] {
        &self.routines[routine.0].launches
    }

    /// Replaces each launch of a routine by what `rewrite` makes of it.
    pub fn rewrite(&mut self, routine: RoutineId, rewrite: impl FnMut(Launch) -> Vec<Launch>) {
        let launches = &mut self.routines[routine.0].launches;
        *launches = std::mem::take(launches)
            .into_iter()
            .flat_map(rewrite)
            .collect();
        launches.iter().for_each(Launch::check_operands);
    }

    /// Drops the launches whose results are not read, plans the memory and closes the plan.
    ///
    /// Errors if it would take more than `limit` bytes.
    pub fn finish(mut self, limit: u64) -> Result<Plan, PlanError> {
        for buffer in &mut self.buffers {
            buffer.len += self.guard;
        }
        prune::drop_unread(&self.buffers, &mut self.routines);
        let memory = MemoryMap::plan(&self.buffers, &self.routines);
        const MIB: u64 = 1 << 20;
        if memory.bytes() > limit {
            let size = |buffer: &&Buffer| buffer.len as u64 * buffer.element.bytes();
            let largest = self.buffers.iter().max_by_key(size).expect("not empty");
            return Err(PlanError::TooLarge {
                needed: memory.bytes() / MIB,
                largest: largest.name.clone(),
                largest_mib: size(&largest) / MIB,
                limit: limit / MIB,
            });
        }
        let together = self.routines.len();
        if self.apart {
            // Every launch finds its operands where the routine's memory plan has put them.
            let launches = self.routines.iter().flat_map(|routine| &routine.launches);
            let alone = |launch: &Launch| Routine {
                name: launch.label.to_string(),
                launches: vec![launch.clone()],
                dropped: Vec::new(),
            };
            let apart: Vec<Routine> = launches.map(alone).collect();
            self.routines.extend(apart);
        }
        Ok(Plan {
            buffers: self.buffers,
            routines: self.routines,
            together,
            memory,
            guard: self.guard,
        })
    }
}
