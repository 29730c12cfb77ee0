//! Exact nearest-neighbour search of blocks of queries, as a plan.

use std::sync::Arc;

use crate::device::{Backend, Device, DeviceError, HostData};
use crate::kernels::gemm::Gemm;
use crate::kernels::nearest::{Distances, K, NONE, Nearest, RowNorms};
use crate::machine::memory_limit;
use crate::plan::{Cost, Element, Matrix, PlanBuilder, RoutineId, View};
use crate::train::TrainError;

use super::Rows;

/// Bytes of references in one buffer: GPUs bind at least 128 MiB at a time.
const CHUNK_BYTES: usize = 64 << 20;

/// How far apart two rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// √Σ (a − b)²
    Euclidean,
    /// 1 − a·b / (|a| |b|)
    Cosine,
}

impl Distance {
    /// Both.
    pub const ALL: [Distance; 2] = [Distance::Euclidean, Distance::Cosine];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Distance::Euclidean => "euclidean",
            Distance::Cosine => "cosine",
        }
    }
}

/// Draws of references, all of one length, of which prefixes are searched.
#[derive(Clone, Debug)]
pub struct Draws {
    /// Indices of references, one list per draw.
    pub lists: Vec<Vec<u32>>,
    /// Prefix lengths, ascending; the last is the lists' length.
    pub sizes: Vec<usize>,
}

impl Draws {
    /// The lists one after the other, each sorted between its prefixes: the prefixes stay the same
    /// sets, and memory is walked forwards.
    fn sorted(&self) -> Vec<u32> {
        let mut all = Vec::new();
        for list in &self.lists {
            let start = all.len();
            all.extend_from_slice(list);
            let mut done = 0;
            for &size in &self.sizes {
                all[start + done..start + size].sort_unstable();
                done = size;
            }
        }
        all
    }
}

/// Neighbours of a block of queries among the draws of one group.
pub struct Found {
    indices: Vec<u32>,
    draws: usize,
    sizes: usize,
}

impl Found {
    /// The nearest references to a query in one draw's prefix, nearest first; at most [`K`].
    pub fn neighbours(&self, query: usize, draw: usize, size: usize) -> &[u32] {
        let list = (query * self.draws + draw) * self.sizes + size;
        let list = &self.indices[list * K..][..K];
        let found = list.iter().position(|&index| index == NONE);
        &list[..found.unwrap_or(K)]
    }
}

/// References on a device, ready to be searched.
pub struct Search {
    device: Box<dyn Device>,
    prepare: RoutineId,
    search: RoutineId,
    chunks: Vec<Matrix>,
    queries: Matrix,
    groups: Vec<Group>,
}

struct Group {
    candidates: View,
    draws: usize,
    sizes: usize,
    /// Euclidean, cosine.
    neighbours: [View; 2],
}

impl Search {
    /// Plans the search of blocks of `block` queries among `references` rows of `width` values,
    /// for groups of draws of the shapes `(draws, sizes)`.
    pub fn new(
        backend: &Backend,
        [block, references, width]: [usize; 3],
        shapes: &[(usize, Vec<usize>)],
    ) -> Result<Search, TrainError> {
        let mut plan = PlanBuilder::new();
        let per_chunk = (CHUNK_BYTES / (4 * width)).clamp(1, references);
        let mut chunks = Vec::new();
        let mut norms = Vec::new();
        for first in (0..references).step_by(per_chunk) {
            let rows = per_chunk.min(references - first);
            let chunk = plan.persistent("references", Element::Real, rows * width);
            chunks.push(chunk.matrix(rows, width));
            norms.push(plan.persistent("reference norms", Element::Real, rows));
        }
        let prepare = plan.begin("prepare");
        for (&x, &norms) in chunks.iter().zip(&norms) {
            plan.launch("reference norms", RowNorms { x, norms });
        }

        let queries = plan.persistent("queries", Element::Real, block * width);
        let queries = queries.matrix(block, width);
        let query_norms = plan.temporary("query norms", block);
        let [euclidean, cosine] =
            ["euclidean", "cosine"].map(|name| plan.temporary_matrix(name, block, references));
        let search = plan.begin("search");
        plan.launch(
            "query norms",
            RowNorms {
                x: queries,
                norms: query_norms,
            },
        );
        let mut first = 0;
        for (&chunk, &reference_norms) in chunks.iter().zip(&norms) {
            let dots = plan.temporary_matrix("dots", block, chunk.rows);
            plan.launch("dots", Gemm::new(queries, chunk, dots).transpose_b());
            plan.launch(
                "distances",
                Distances {
                    dots,
                    query_norms,
                    reference_norms,
                    euclidean,
                    cosine,
                    first,
                },
            );
            first += chunk.rows;
        }
        let mut groups = Vec::new();
        for (draws, sizes) in shapes {
            let (draws, longest) = (*draws, *sizes.last().expect("a group has a size"));
            let candidates = plan.persistent("candidates", Element::Index, draws * longest);
            let neighbours = [euclidean, cosine].map(|distances| {
                let len = Nearest::len(block, draws, sizes.len());
                let neighbours = plan.persistent("neighbours", Element::Index, len);
                plan.launch(
                    "nearest",
                    Nearest {
                        distances,
                        candidates,
                        draws,
                        sizes: sizes.clone(),
                        neighbours,
                    },
                );
                neighbours
            });
            groups.push(Group {
                candidates,
                draws,
                sizes: sizes.len(),
                neighbours,
            });
        }
        let plan = Arc::new(plan.finish(memory_limit())?);
        Ok(Search {
            device: backend.load(plan)?,
            prepare,
            search,
            chunks,
            queries,
            groups,
        })
    }

    /// Bytes it takes on the device, where a real is an `f32`.
    pub fn memory(&self) -> u64 {
        self.device.plan().memory.bytes()
    }

    /// What the search of one block of queries costs.
    pub fn cost(&self) -> Cost {
        self.device.plan().cost(self.search)
    }

    /// Uploads the references: the rows of `source` at `indices`, in that order.
    pub fn set_references(
        &mut self,
        source: &dyn Rows,
        indices: impl Iterator<Item = usize>,
    ) -> Result<(), TrainError> {
        let mut indices = indices;
        let mut values = Vec::new();
        for chunk in &self.chunks {
            values.resize(chunk.rows * chunk.cols, 0.0);
            for row in values.chunks_exact_mut(chunk.cols) {
                source.copy(indices.next().expect("as many as planned"), row)?;
            }
            self.device.write(chunk.view, HostData::Real(&values))?;
        }
        Ok(self.device.run(self.prepare, 1)?)
    }

    /// Uploads a group's draws, of the shape that was planned.
    pub fn set_draws(&mut self, group: usize, draws: &Draws) -> Result<(), DeviceError> {
        let candidates = self.groups[group].candidates;
        self.device
            .write(candidates, HostData::Index(&draws.sorted()))
    }

    /// Finds the neighbours of at most a block of queries, the rows of `source` at `indices`:
    /// for each group, by Euclidean and by cosine distance.
    pub fn run(
        &mut self,
        source: &dyn Rows,
        indices: impl Iterator<Item = usize>,
    ) -> Result<Vec<[Found; 2]>, TrainError> {
        let mut values = vec![0.0; self.queries.view.len];
        for (row, index) in values.chunks_exact_mut(self.queries.cols).zip(indices) {
            source.copy(index, row)?;
        }
        self.device
            .write(self.queries.view, HostData::Real(&values))?;
        self.device.run(self.search, 1)?;
        let mut found = Vec::new();
        for group in &self.groups {
            let mut read = |view| -> Result<Found, DeviceError> {
                Ok(Found {
                    indices: self.device.read_index(view)?,
                    draws: group.draws,
                    sizes: group.sizes,
                })
            };
            let [euclidean, cosine] = group.neighbours;
            found.push([read(euclidean)?, read(cosine)?]);
        }
        Ok(found)
    }
}
