//! The builder that layers emit launches into.

use thiserror::Error;

use super::{
    Buffer, BufferId, Element, Launch, Lifetime, Matrix, MemoryMap, Plan, Routine, RoutineId, View,
};
use crate::kernels::AnyKernel;

/// Views into a shared buffer start at multiples of this many reals: 256 bytes, the strictest
/// alignment that WebGPU asks of a storage binding.
const ALIGNMENT: usize = 64;

/// A plan that cannot be carried out.
#[derive(Debug, Error)]
pub enum PlanError {
    /// More memory than the machine has.
    #[error(
        "the plan needs {needed} MiB of memory (largest buffer: `{largest}`, {largest_mib} MiB) \
         but at most {limit} MiB are available: make the model or the batch smaller"
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
}

impl PlanBuilder {
    /// An empty plan.
    pub fn new() -> Self {
        Self::default()
    }

    fn buffer(&mut self, name: String, element: Element, len: usize, lifetime: Lifetime) -> View {
        self.buffers.push(Buffer {
            name,
            element,
            len,
            lifetime,
        });
        View {
            buffer: BufferId(self.buffers.len() - 1),
            offset: 0,
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
            offset: 0,
            len: self.buffers[buffer.0].len,
        }
    }

    /// Starts a routine: launches go to it until the next begins.
    pub fn begin(&mut self, name: impl Into<String>) -> RoutineId {
        self.routines.push(Routine {
            name: name.into(),
            launches: Vec::new(),
        });
        RoutineId(self.routines.len() - 1)
    }

    /// Appends a launch to the routine begun last.
    ///
    /// Panics if no routine has begun, or if the kernel writes a view that it also touches
    /// otherwise: both are mistakes in the emitting layer, not in anything a user can write.
    pub fn launch(&mut self, label: impl Into<String>, kernel: impl Into<AnyKernel>) {
        let (label, kernel) = (label.into(), kernel.into());
        let operands = kernel.operands();
        for (i, written) in operands.iter().enumerate() {
            for (j, other) in operands.iter().enumerate() {
                assert!(
                    i == j || !written.is_written() || !written.view.overlaps(other.view),
                    "{label}: `{}` is written and overlaps `{}`",
                    written.name,
                    other.name
                );
            }
        }
        self.routines
            .last_mut()
            .expect("a routine has begun")
            .launches
            .push(Launch { label, kernel });
    }

    /// Plans the memory and closes the plan.
    ///
    /// Errors if it would take more than `limit` bytes.
    pub fn finish(self, limit: u64) -> Result<Plan, PlanError> {
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
        Ok(Plan {
            buffers: self.buffers,
            routines: self.routines,
            memory,
        })
    }
}
