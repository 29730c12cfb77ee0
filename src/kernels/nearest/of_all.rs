//! The nearest of all, from their dot products.

use super::{Distance, K, LANES, Lists, NONE, lanes};
use crate::buffer::{Matrix, Operand, View};
use crate::kernels::host::Memory;
use crate::kernels::parallel::{self, chunks_of, each_part, with_constant};
use crate::kernels::{Dispatch, Kernel, linear_groups, shader};
use crate::scalar::Scalar;

/// The nearest of all references, of which a chunk is taken in.
#[derive(Clone, Debug)]
pub struct NearestOfAll {
    /// By which distance.
    pub distance: Distance,
    /// How many, at most [`K`](super::K).
    pub k: usize,
    /// `[chunk, Q]`
    pub dots: Matrix,
    /// `[Q]`
    pub query_norms: View,
    /// `[chunk]`
    pub reference_norms: View,
    /// The chunk's first reference; with 0 the lists begin anew.
    pub first: usize,
    /// Distances of the nearest so far `[⌈Q / LANES⌉, k, LANES]`.
    pub nearest: View,
    /// Their indices, likewise.
    pub neighbours: View,
}

impl NearestOfAll {
    /// Length of `nearest` and of `neighbours`.
    pub fn len(queries: usize, k: usize) -> usize {
        queries.next_multiple_of(LANES) * k
    }

    /// Where a query's neighbour lies, counted from the nearest.
    pub fn at(k: usize, query: usize, place: usize) -> usize {
        (query / LANES * k + place) * LANES + query % LANES
    }

    /// The operands `nearest` and `neighbours`.
    pub(super) fn lists(&self) -> [Operand; 2] {
        let lists = [("nearest", self.nearest), ("neighbours", self.neighbours)];
        lists.map(|(name, view)| match self.first {
            0 => Operand::write(name, view),
            _ => Operand::update(name, view),
        })
    }

    /// A group's lists before the chunk is taken in.
    pub(super) fn so_far<T: Scalar>(&self, nearest: &[T], neighbours: &[u32]) -> Lists<T> {
        match self.first {
            0 => Lists::new(self.k),
            _ => Lists::restored(nearest, neighbours),
        }
    }
}

impl Kernel for NearestOfAll {
    const NAME: &'static str = "nearest_of_all";
    const SHADER: &'static str = shader!([K = K, LANES = LANES, NONE = NONE] "shared/element", "shared/distance", "shared/list", "shared/list_in_chunks", "nearest_of_all");

    fn operands(&self) -> Vec<Operand> {
        let [nearest, neighbours] = self.lists();
        vec![
            Operand::read("dots", self.dots),
            Operand::read("query_norms", self.query_norms),
            Operand::read("reference_norms", self.reference_norms),
            nearest,
            neighbours,
        ]
    }

    fn flops(&self) -> u64 {
        // A distance and a comparison each.
        (Distance::FLOPS + 1) * self.dots.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([dots, query_norms, reference_norms], [nearest]) = memory.real.access(
            [self.dots.view, self.query_norms, self.reference_norms],
            [self.nearest],
        );
        let neighbours = memory.index.write(self.neighbours);
        let parts = (
            chunks_of(nearest, self.k * LANES),
            chunks_of(neighbours, self.k * LANES),
        );
        each_part(&memory.team, parts, |_, group, (nearest, neighbours)| {
            let first = group * LANES;
            let q = lanes(query_norms, first);
            let rows = dots.chunks_exact(self.dots.cols).zip(reference_norms);
            let mut lists = self.so_far(nearest, neighbours);
            with_constant!(self.distance, Distance::{Euclidean, Cosine}, D => parallel::simd(
                #[inline(always)]
                || {
                    for (index, (row, &r)) in (self.first as u32..).zip(rows) {
                        let mut distances = lanes(row, first);
                        for lane in 0..LANES {
                            distances[lane] = D.of_dot(distances[lane], q[lane], r);
                        }
                        lists.offer(&distances, index);
                    }
                    lists.settle();
                },
            ));
            lists.save(nearest, neighbours);
        });
    }

    fn gpu(&self) -> Dispatch {
        let [chunk, queries] = [self.dots.rows, self.dots.cols];
        Dispatch {
            constants: vec![self.distance.constant(), ("K", format!("{}u", self.k))],
            dims: [queries, chunk, self.first].map(|dim| dim as u32).into(),
            groups: linear_groups(queries.next_multiple_of(LANES)),
        }
    }
}
