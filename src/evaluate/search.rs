//! Exact nearest-neighbour search of blocks of queries, as a plan.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::buffer::{Cost, Element, Matrix, View};
use crate::device::{Backend, Device, DeviceError, HostData};
use crate::kernels::gemm::Gemm;
pub use crate::kernels::nearest::Distance;
use crate::kernels::nearest::{
    Distances, K, MAX_SIZES, NONE, Nearest, NearestFiltered, NearestOfAll, Residuals, RowNorms,
};
use crate::machine::memory_limit;
use crate::plan::{PlanBuilder, RoutineId};
use crate::train::TrainError;

use super::{Rows, directions};

/// Directions of a filter's sketches: with the residual, two panels of a product.
const DIRECTIONS: usize = 63;
/// Rows, at most, that the directions are the principal ones of.
const SAMPLE: usize = 1024;
/// Values in a row from which on a filter is worth while: its product is to be a quarter of the whole
/// one at most.
const FILTERED_WIDTH: usize = 4 * (DIRECTIONS + 1);
/// References from which on it is: finding the directions takes as long as some hundred queries of so many.
const FILTERED_REFERENCES: usize = 8 * SAMPLE;

/// Bytes, at most, of the references that are searched at a time, and of their dots: on the CPU what
/// stays in cache meanwhile; GPUs bind at least 128 MiB at a time.
fn chunk_bytes(backend: &Backend) -> usize {
    if backend.team().is_some() {
        3 << 20
    } else {
        64 << 20
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
    /// The references that any of the groups' draws uses, ascending.
    pub fn used(groups: &[Draws]) -> Vec<u32> {
        let lists = groups.iter().flat_map(|draws| &draws.lists);
        let mut used: Vec<u32> = lists.flatten().copied().collect();
        used.sort_unstable();
        used.dedup();
        used
    }

    /// The same draws among the references `used` alone. Where these ascend, they are found in the same
    /// order, whichever are equally near.
    ///
    /// Panics if a draw uses others.
    pub fn among(&self, used: &[u32]) -> Draws {
        let place = |index| used.binary_search(index).expect("a reference in use") as u32;
        Draws {
            lists: (self.lists.iter())
                .map(|list| list.iter().map(place).collect())
                .collect(),
            sizes: self.sizes.clone(),
        }
    }

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

/// Neighbours of a block of queries among the draws of one group, by one distance.
pub struct Found {
    indices: Vec<u32>,
    k: usize,
    draws: usize,
    sizes: usize,
}

impl Found {
    /// The nearest references to a query in one draw's prefix, nearest first; at most k.
    pub fn neighbours(&self, query: usize, draw: usize, size: usize) -> &[u32] {
        let list = (query * self.draws + draw) * self.sizes + size;
        let list = &self.indices[list * self.k..][..self.k];
        let found = list.iter().position(|&index| index == NONE);
        &list[..found.unwrap_or(self.k)]
    }
}

/// References on a device, ready to be searched.
pub struct Search {
    device: Box<dyn Device>,
    prepare: RoutineId,
    search: RoutineId,
    chunks: Vec<Matrix>,
    /// Of a filter, `[width, DIRECTIONS + 1]`.
    basis: Option<View>,
    queries: Matrix,
    k: usize,
    groups: Vec<Group>,
}

struct Group {
    /// None where everything is the only draw.
    candidates: Option<View>,
    draws: usize,
    sizes: usize,
    /// By each distance.
    neighbours: Vec<View>,
}

/// What bounds dot products: see [`NearestFiltered`].
struct Filter {
    basis: Matrix,
    queries: Matrix,
    chunks: Vec<Matrix>,
}

impl Filter {
    /// The sketches of the rows of `x`.
    fn sketch(&self, plan: &mut PlanBuilder, x: Matrix, norms: View, sketches: Matrix) {
        plan.launch("sketches", Gemm::new(x, self.basis, sketches));
        let width = x.cols;
        plan.launch(
            "residuals",
            Residuals {
                sketches,
                norms,
                width,
            },
        );
    }
}

impl Search {
    /// Plans the search of blocks of `block` queries among `references` rows of `width` values, by each
    /// of `distances`, for the `k` nearest, at most [`K`](crate::kernels::nearest::K), in groups of
    /// draws of the shapes `(draws, sizes)`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Search`] if one of these numbers is out of range, or if the device has too little
    /// memory.
    pub fn new(
        backend: &Backend,
        [block, references, width]: [usize; 3],
        distances: &[Distance],
        k: usize,
        shapes: &[(usize, Vec<usize>)],
    ) -> Result<Search, TrainError> {
        check("k", k, 1..=K)?;
        for (what, count) in [
            ("queries", block),
            ("references", references),
            ("values", width),
        ] {
            check(what, count, 1..=usize::MAX)?;
        }
        for (_, sizes) in shapes {
            check("sizes", sizes.len(), 1..=MAX_SIZES)?;
        }
        let mut plan = PlanBuilder::new();
        let per_chunk = chunk_bytes(backend) / (4 * width.max(block));
        let per_chunk = per_chunk.clamp(1, references);
        let mut chunks = Vec::new();
        let mut norms = Vec::new();
        for first in (0..references).step_by(per_chunk) {
            let rows = per_chunk.min(references - first);
            let chunk = plan.persistent("references", Element::Real, rows * width);
            chunks.push(chunk.matrix(rows, width));
            norms.push(plan.persistent("reference norms", Element::Real, rows));
        }
        // The draw of everything needs no candidates, and no distances of all references at a time.
        let is_all = |(draws, sizes): &(usize, Vec<usize>)| *draws == 1 && *sizes == [references];
        let only_all = shapes.iter().all(is_all);
        // GPUs have no use for a filter: what it lets through is scattered.
        let on_cpu = backend.team().is_some();
        let worth_while = width >= FILTERED_WIDTH && references >= FILTERED_REFERENCES;
        let filter = (on_cpu && only_all && worth_while).then(|| {
            let cols = DIRECTIONS + 1;
            let mut sketches = |name, rows| {
                let sketch = plan.persistent(name, Element::Real, rows * cols);
                sketch.matrix(rows, cols)
            };
            Filter {
                basis: sketches("basis", width),
                queries: sketches("query sketches", block),
                chunks: (chunks.iter())
                    .map(|chunk| sketches("reference sketches", chunk.rows))
                    .collect(),
            }
        });

        let prepare = plan.begin("prepare");
        for (index, (&x, &norms)) in chunks.iter().zip(&norms).enumerate() {
            plan.launch("reference norms", RowNorms { x, norms });
            if let Some(filter) = &filter {
                filter.sketch(&mut plan, x, norms, filter.chunks[index]);
            }
        }

        let queries = plan.persistent("queries", Element::Real, block * width);
        let queries = queries.matrix(block, width);
        let query_norms = plan.temporary("query norms", block);
        let mut groups = Vec::new();
        for shape in shapes {
            let (draws, sizes) = (shape.0, shape.1.len());
            let longest = *shape.1.last().expect("a group has a size");
            let (candidates, len) = match is_all(shape) {
                true => (None, NearestOfAll::len(block, k)),
                false => (
                    Some(draws * longest),
                    Nearest::len(block, [draws, sizes, k]),
                ),
            };
            let mut indices = |name, len| plan.persistent(name, Element::Index, len);
            groups.push(Group {
                candidates: candidates.map(|len| indices("candidates", len)),
                draws,
                sizes,
                neighbours: distances
                    .iter()
                    .map(|_| indices("neighbours", len))
                    .collect(),
            });
        }
        let kept: Vec<View> = distances
            .iter()
            .filter(|_| !only_all)
            .map(|distance| plan.temporary(distance.name(), Distances::len(block, references)))
            .collect();
        let nearest: Vec<View> = distances
            .iter()
            .map(|_| plan.temporary("nearest distances", NearestOfAll::len(block, k)))
            .collect();

        let search = plan.begin("search");
        plan.launch(
            "query norms",
            RowNorms {
                x: queries,
                norms: query_norms,
            },
        );
        if let Some(filter) = &filter {
            filter.sketch(&mut plan, queries, query_norms, filter.queries);
        }
        let mut first = 0;
        for (index, (&chunk, &reference_norms)) in chunks.iter().zip(&norms).enumerate() {
            let (name, left, right) = match &filter {
                Some(filter) => ("bounds", filter.chunks[index], filter.queries),
                None => ("dots", chunk, queries),
            };
            let products = plan.temporary_matrix(name, chunk.rows, block);
            plan.launch(name, Gemm::new(left, right, products).transpose_b());
            for (&distance, &distances) in distances.iter().zip(&kept) {
                plan.launch(
                    "distances",
                    Distances {
                        distance,
                        dots: products,
                        query_norms,
                        reference_norms,
                        distances,
                        first,
                    },
                );
            }
            for group in groups.iter().filter(|group| group.candidates.is_none()) {
                let lists = nearest.iter().zip(&group.neighbours);
                for (&distance, (&nearest, &neighbours)) in distances.iter().zip(lists) {
                    let of_all = NearestOfAll {
                        distance,
                        k,
                        dots: products,
                        query_norms,
                        reference_norms,
                        first,
                        nearest,
                        neighbours,
                    };
                    if filter.is_some() {
                        let filtered = NearestFiltered {
                            of_all,
                            queries,
                            references: chunk,
                        };
                        plan.launch("nearest", filtered);
                    } else {
                        plan.launch("nearest", of_all);
                    }
                }
            }
            first += chunk.rows;
        }
        for (group, (draws, sizes)) in groups.iter().zip(shapes) {
            let Some(candidates) = group.candidates else {
                continue;
            };
            for (&distances, &neighbours) in kept.iter().zip(&group.neighbours) {
                plan.launch(
                    "nearest",
                    Nearest {
                        queries: block,
                        k,
                        distances,
                        candidates,
                        draws: *draws,
                        sizes: sizes.clone(),
                        neighbours,
                    },
                );
            }
        }
        let plan = Arc::new(plan.finish(memory_limit())?);
        Ok(Search {
            device: backend.load(plan)?,
            prepare,
            search,
            chunks,
            basis: filter.map(|filter| filter.basis.view),
            queries,
            k,
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
        let width = self.queries.cols;
        check("values in a row", source.width(), width..=width)?;
        let mut indices = indices;
        let mut values = Vec::new();
        let mut sample = Vec::new();
        let count: usize = self.chunks.iter().map(|chunk| chunk.rows).sum();
        let mut copied = 0usize;
        for chunk in &self.chunks {
            values.resize(chunk.rows * chunk.cols, 0.0);
            for row in values.chunks_exact_mut(chunk.cols) {
                source.copy(indices.next().expect("as many as planned"), row)?;
                if self.basis.is_some() && copied.is_multiple_of(count.div_ceil(SAMPLE)) {
                    sample.extend_from_slice(row);
                }
                copied += 1;
            }
            self.device.write(chunk.view, HostData::Real(&values))?;
        }
        if let Some(basis) = self.basis {
            let values = directions::principal(&sample, [self.queries.cols, DIRECTIONS]);
            self.device.write(basis, HostData::Real(&values))?;
        }
        Ok(self.device.run(self.prepare, 1)?)
    }

    /// Uploads a group's draws, of the shape that was planned.
    pub fn set_draws(&mut self, group: usize, draws: &Draws) -> Result<(), DeviceError> {
        match self.groups[group].candidates {
            Some(candidates) => {
                let sorted = draws.sorted();
                self.device.write(candidates, HostData::Index(&sorted))
            }
            None => Ok(()),
        }
    }

    /// Finds the neighbours of at most a block of queries, the rows of `source` at `indices`:
    /// for each group, by each distance.
    pub fn run(
        &mut self,
        source: &dyn Rows,
        indices: impl Iterator<Item = usize>,
    ) -> Result<Vec<Vec<Found>>, TrainError> {
        let width = self.queries.cols;
        check("values in a row", source.width(), width..=width)?;
        let mut values = vec![0.0; self.queries.view.len];
        for (row, index) in values.chunks_exact_mut(self.queries.cols).zip(indices) {
            source.copy(index, row)?;
        }
        self.device
            .write(self.queries.view, HostData::Real(&values))?;
        self.device.run(self.search, 1)?;
        let (device, queries, k) = (&mut self.device, self.queries.rows, self.k);
        let found = self.groups.iter().map(|group| {
            let found = group.neighbours.iter().map(|&view| {
                let read = device.read_index(view)?;
                let indices = match group.candidates {
                    Some(_) => read,
                    None => (0..queries * k)
                        .map(|list| read[NearestOfAll::at(k, list / k, list % k)])
                        .collect(),
                };
                Ok(Found {
                    indices,
                    k,
                    draws: group.draws,
                    sizes: group.sizes,
                })
            });
            found.collect()
        });
        Ok(found.collect::<Result<_, DeviceError>>()?)
    }
}

/// Errors unless there may be so many.
fn check(
    what: &'static str,
    value: usize,
    allowed: RangeInclusive<usize>,
) -> Result<(), TrainError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (least, most) = allowed.into_inner();
    let expected = match most {
        usize::MAX => format!("at least {least}"),
        most if most == least => most.to_string(),
        most => format!("{least} to {most}"),
    };
    Err(TrainError::Search {
        what,
        value,
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::Cpu;
    use crate::evaluate::Features;

    fn search(sizes: [usize; 3], k: usize) -> Result<Search, TrainError> {
        let backend = Backend::Cpu(Cpu::<f32>::team(1).expect("a thread"));
        Search::new(&backend, sizes, &[Distance::Euclidean], k, &[(1, vec![5])])
    }

    #[test]
    fn a_search_of_impossible_size_is_an_error_of_the_constructor() {
        for (sizes, k, part) in [
            ([2, 5, 3], 17, "k = 17`: expected 1 to 16"),
            ([2, 5, 3], 0, "k = 0`: expected 1 to 16"),
            ([0, 5, 3], 1, "queries = 0`: expected at least 1"),
            ([2, 0, 3], 1, "references = 0`"),
            ([2, 5, 0], 1, "values = 0`"),
        ] {
            let message = search(sizes, k).err().expect("refused").to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn rows_of_another_width_are_an_error() {
        let mut search = search([2, 5, 3], 1).expect("fits");
        let wide = Features {
            width: 4,
            values: vec![0.0; 20],
        };
        let error = search.set_references(&wide, 0..5).expect_err("too wide");
        assert!(
            error
                .to_string()
                .contains("values in a row = 4`: expected 3")
        );
        let error = search.run(&wide, 0..2).err().expect("too wide");
        assert!(error.to_string().contains("expected 3"));
    }
}
