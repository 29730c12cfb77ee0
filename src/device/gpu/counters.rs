//! What a GPU is asked for.

use std::ops::Sub;

use serde::Serialize;

/// What a GPU was asked for since its plan was loaded, loading included.
///
/// A step costs the host its recording and one share of a submission: nothing is created, copied or
/// waited for. The difference of two readings shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Pipelines compiled; those that the adapter had already, from another plan, do not count.
    pub pipelines: u64,
    /// Bind groups created.
    pub bind_groups: u64,
    /// Buffers created.
    pub buffers: u64,
    /// Bytes of these buffers.
    pub buffer_bytes: u64,
    /// Submissions to the queue.
    pub submits: u64,
    /// Compute passes in them.
    pub passes: u64,
    /// Launches of the plan.
    pub launches: u64,
    /// Dispatches that carried them out.
    pub dispatches: u64,
    /// Writes from the host.
    pub uploads: u64,
    /// Bytes written.
    pub upload_bytes: u64,
    /// Reads by the host, each a copy that is mapped.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Times that the host waited for the GPU.
    pub waits: u64,
}

impl Sub for Counters {
    type Output = Counters;

    fn sub(self, before: Counters) -> Counters {
        Counters {
            pipelines: self.pipelines - before.pipelines,
            bind_groups: self.bind_groups - before.bind_groups,
            buffers: self.buffers - before.buffers,
            buffer_bytes: self.buffer_bytes - before.buffer_bytes,
            submits: self.submits - before.submits,
            passes: self.passes - before.passes,
            launches: self.launches - before.launches,
            dispatches: self.dispatches - before.dispatches,
            uploads: self.uploads - before.uploads,
            upload_bytes: self.upload_bytes - before.upload_bytes,
            reads: self.reads - before.reads,
            read_bytes: self.read_bytes - before.read_bytes,
            waits: self.waits - before.waits,
        }
    }
}
