//! Exact nearest neighbours: distances from one matrix product, then the nearest of all or of many draws.
//!
//! ```text
//! dots[r, q] = references[r] · queries[q]              a GEMM
//! norms[r]   = |x[r]|²
//! euclidean  = max(0, |q|² − 2 dots + |r|²)            squared; its order is the distance's
//! cosine     = 1 − dots / (|q| |r|)                    1 where either norm is 0
//!
//! of all:    the k references nearest to q, nearest first, the lower index where two are equally near
//! of draws:  neighbours[q, d, s, 0..k] = the same among the first sizes[s] of draw d
//!
//! queries [Q, D], references [R, D] in chunks, candidates [draws, N]
//! ```
//! The search of all references takes in a chunk at a time, while its dots are in cache, and keeps no
//! distances. Most of its dots can be left out: see [`NearestFiltered`]. Draws have references in common
//! and each takes them in its own order, so their distances are computed once and kept, for a block of Q
//! queries only. A list is filled up with [`NONE`] where there are fewer than k references; k is [`K`] at
//! most.
//!
//! [`LANES`] queries go together, a vector wide: a candidate is compared with the worst of their lists
//! at once, and mostly that is all (see `nearest/lists.rs`). So what is kept of queries lies in groups of
//! them:
//!
//! ```text
//! distances            [⌈Q / LANES⌉, R, LANES]
//! the nearest so far   [⌈Q / LANES⌉, k, LANES]
//! ```

pub mod definition;
mod filter;
mod lists;
mod of_all;

pub use filter::{NearestFiltered, Residuals};
pub use of_all::NearestOfAll;

use lists::Lists;

use super::parallel::{chunks_of, each_part, with_constant};
use super::{Dispatch, Kernel, linear_groups, parallel, shader};
use crate::buffer::{Cost, Matrix, Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// Neighbours, at most, that are found per query, draw and size.
pub const K: usize = 16;
/// Stands where there is no k-th neighbour.
pub const NONE: u32 = u32::MAX;
/// Sizes (prefixes of a draw) that one launch handles at most.
pub const MAX_SIZES: usize = 8;
/// Queries whose lists advance together.
pub const LANES: usize = 16;

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

    /// Of two vectors of squared norms q and r; the Euclidean one squared.
    #[inline(always)]
    fn of_dot<T: Scalar>(self, dot: T, q: T, r: T) -> T {
        match self {
            Distance::Euclidean => squared_distance(dot, q, r),
            Distance::Cosine => cosine_distance(dot, q, r),
        }
    }

    /// FLOPs of one: double, subtract, add, compare; or multiply, root, divide, subtract.
    const FLOPS: u64 = 4;

    /// What tells the shaders which it is.
    fn constant(self) -> (&'static str, String) {
        ("COSINE", (self == Distance::Cosine).to_string())
    }
}

/// The [`LANES`] elements of a row from `first` on; beyond its end, the last one again, so that every
/// place of a group is defined.
#[inline(always)]
fn lanes<T: Scalar>(row: &[T], first: usize) -> [T; LANES] {
    match row[first..].first_chunk() {
        Some(lanes) => *lanes,
        None => std::array::from_fn(|lane| row[(first + lane).min(row.len() - 1)]),
    }
}

/// `norms[r] = Σ x[r, ·]²`
#[derive(Clone, Debug)]
pub struct RowNorms {
    /// `[R, D]`
    pub x: Matrix,
    /// `[R]`
    pub norms: View,
}

impl Kernel for RowNorms {
    const NAME: &'static str = "row_norms";
    const SHADER: &'static str = shader!([] "shared/element", "row_norms");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("x", self.x),
            Operand::write("norms", self.norms),
        ]
    }

    fn flops(&self) -> u64 {
        2 * self.x.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let cols = self.x.cols;
        let ([x], [norms]) = memory.real.access([self.x.view], [self.norms]);
        parallel::chunks(&memory.team, norms, 1, |first, norms| {
            for (norm, row) in norms.iter_mut().zip(x[first * cols..].chunks_exact(cols)) {
                *norm = row.iter().map(|&x| x * x).sum();
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.x.rows as u32, self.x.cols as u32],
            groups: linear_groups(self.x.rows),
        }
    }
}

/// Distances of a chunk of references, from the dot products.
#[derive(Clone, Debug)]
pub struct Distances {
    /// Which.
    pub distance: Distance,
    /// `[chunk, Q]`
    pub dots: Matrix,
    /// `[Q]`
    pub query_norms: View,
    /// `[chunk]`
    pub reference_norms: View,
    /// `[⌈Q / LANES⌉, R, LANES]`, of which references `first .. first + chunk` are written.
    pub distances: View,
    /// The chunk's first reference.
    pub first: usize,
}

impl Distances {
    /// Length of `distances`.
    pub fn len(queries: usize, references: usize) -> usize {
        queries.next_multiple_of(LANES) * references
    }
}

impl Kernel for Distances {
    const NAME: &'static str = "distances";
    const SHADER: &'static str =
        shader!([LANES = LANES] "shared/element", "shared/distance", "distances");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("dots", self.dots),
            Operand::read("query_norms", self.query_norms),
            Operand::read("reference_norms", self.reference_norms),
            Operand::update("distances", self.distances),
        ]
    }

    fn flops(&self) -> u64 {
        Distance::FLOPS * self.dots.view.len as u64
    }

    fn cost(&self) -> Cost {
        let dots = self.dots.view.len as u64;
        let norms = (self.query_norms.len + self.reference_norms.len) as u64;
        Cost {
            flops: self.flops(),
            read: 4 * (dots + norms),
            written: 4 * dots,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let ([dots, query_norms, reference_norms], [distances]) = memory.real.access(
            [self.dots.view, self.query_norms, self.reference_norms],
            [self.distances],
        );
        let queries = self.dots.cols;
        let group_len = distances.len() / queries.div_ceil(LANES);
        each_part(
            &memory.team,
            chunks_of(distances, group_len),
            |_, group, distances| {
                let first = group * LANES;
                let q = lanes(query_norms, first);
                let (targets, _) = distances[self.first * LANES..].as_chunks_mut::<LANES>();
                let rows = dots.chunks_exact(queries).zip(reference_norms);
                with_constant!(self.distance, Distance::{Euclidean, Cosine}, D => parallel::simd(
                    #[inline(always)]
                    || {
                        for (target, (row, &r)) in targets.iter_mut().zip(rows) {
                            let dots = lanes(row, first);
                            for lane in 0..LANES {
                                target[lane] = D.of_dot(dots[lane], q[lane], r);
                            }
                        }
                    },
                ));
            },
        );
    }

    fn gpu(&self) -> Dispatch {
        let [chunk, queries] = [self.dots.rows, self.dots.cols];
        let references = self.distances.len / queries.next_multiple_of(LANES);
        Dispatch {
            constants: vec![self.distance.constant()],
            dims: [queries, chunk, references, self.first]
                .map(|dim| dim as u32)
                .into(),
            groups: linear_groups(chunk * queries.next_multiple_of(LANES)),
        }
    }
}

#[inline(always)]
fn squared_distance<T: Scalar>(dot: T, q: T, r: T) -> T {
    let squared = q - (dot + dot) + r;
    // Rounding may leave a little below zero; a NaN stays a NaN.
    if squared < T::zero() {
        T::zero()
    } else {
        squared
    }
}

#[inline(always)]
fn cosine_distance<T: Scalar>(dot: T, q: T, r: T) -> T {
    let norms = (q * r).sqrt();
    let cosine = if norms > T::zero() {
        dot / norms
    } else {
        T::zero()
    };
    T::one() - cosine
}

/// Candidates whose distances are fetched at a time: they lie apart, and the processor waits for all of
/// them together.
const AT_A_TIME: usize = 32;

/// The nearest references of every draw and size.
#[derive(Clone, Debug)]
pub struct Nearest {
    /// Number of queries.
    pub queries: usize,
    /// How many, at most [`K`].
    pub k: usize,
    /// `[⌈Q / LANES⌉, R, LANES]`
    pub distances: View,
    /// Indices `[draws, N]` into the references.
    pub candidates: View,
    /// Number of draws.
    pub draws: usize,
    /// Prefix lengths, ascending, the last being N; at most [`MAX_SIZES`].
    pub sizes: Vec<usize>,
    /// Indices `[Q, draws, sizes, k]`.
    pub neighbours: View,
}

impl Nearest {
    /// Length of `neighbours`.
    pub fn len(queries: usize, [draws, sizes, k]: [usize; 3]) -> usize {
        queries * draws * sizes * k
    }

    fn references(&self) -> usize {
        self.distances.len / self.queries.next_multiple_of(LANES)
    }
}

impl Kernel for Nearest {
    const NAME: &'static str = "nearest";
    const SHADER: &'static str = shader!([K = K, LANES = LANES, NONE = NONE, MAX_SIZES = MAX_SIZES] "shared/element", "shared/list", "nearest");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("distances", self.distances),
            Operand::read("candidates", self.candidates),
            Operand::write("neighbours", self.neighbours),
        ]
    }

    fn flops(&self) -> u64 {
        // A comparison per candidate.
        (self.queries * self.candidates.len) as u64
    }

    fn cost(&self) -> Cost {
        // At most: draws that have candidates in common read their distances once.
        let looked_at = self.references().min(self.candidates.len);
        Cost {
            flops: self.flops(),
            read: 4 * (self.queries * looked_at + self.candidates.len) as u64,
            written: 4 * self.neighbours.len as u64,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let distances = memory.real.read(self.distances);
        let ([candidates], [neighbours]) =
            memory.index.access([self.candidates], [self.neighbours]);
        let (references, sizes) = (self.references(), self.sizes.len());
        let per_draw = candidates.len() / self.draws;
        let per_query = self.draws * sizes * self.k;
        each_part(
            &memory.team,
            chunks_of(neighbours, LANES * per_query),
            |_, group, neighbours| {
                let (distances, _) = distances[group * references * LANES..].as_chunks::<LANES>();
                let mut near = [[T::zero(); LANES]; AT_A_TIME];
                for (draw, candidates) in candidates.chunks_exact(per_draw).enumerate() {
                    let mut lists = Lists::new(self.k);
                    let mut done = 0;
                    for (index, &size) in self.sizes.iter().enumerate() {
                        parallel::simd(
                            #[inline(always)]
                            || {
                                for candidates in candidates[done..size].chunks(AT_A_TIME) {
                                    for (near, &c) in near.iter_mut().zip(candidates) {
                                        *near = distances[c as usize];
                                    }
                                    for (near, &c) in near.iter().zip(candidates) {
                                        lists.offer(near, c);
                                    }
                                }
                                lists.settle();
                            },
                        );
                        done = size;
                        let queries = neighbours.chunks_exact_mut(per_query);
                        for (lane, neighbours) in queries.enumerate() {
                            let list = &mut neighbours[(draw * sizes + index) * self.k..];
                            for (neighbour, index) in list.iter_mut().zip(lists.of(lane)) {
                                *neighbour = index;
                            }
                        }
                    }
                }
            },
        );
    }

    fn gpu(&self) -> Dispatch {
        assert!(self.sizes.len() <= MAX_SIZES, "{} sizes", self.sizes.len());
        let mut dims = vec![
            self.queries as u32,
            self.references() as u32,
            self.draws as u32,
            (self.candidates.len / self.draws) as u32,
            self.sizes.len() as u32,
            0,
            0,
            0,
        ];
        dims.extend(self.sizes.iter().map(|&size| size as u32));
        dims.resize(8 + MAX_SIZES, 0);
        Dispatch {
            constants: vec![("K", format!("{}u", self.k))],
            dims,
            groups: linear_groups(self.queries.next_multiple_of(LANES) * self.draws),
        }
    }
}
