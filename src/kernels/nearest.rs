//! Exact nearest neighbours: distances from one matrix product, then the nearest of many draws.
//!
//! ```text
//! dots[q, r] = queries[q] · references[r]              a GEMM
//! norms[r]   = |x[r]|²
//! euclidean[q, r] = max(0, |q|² − 2 dots + |r|²)       squared; its order is the distance's
//! cosine[q, r]    = 1 − dots / (|q| |r|)               1 where either norm is 0
//!
//! neighbours[q, d, s, 0..K] = the K references nearest to q among the first sizes[s] of draw d,
//!                             nearest first, the lower index where two are equally near
//!
//! queries [Q, D], references [R, D] (in chunks of columns of the distances), candidates [draws, N]
//! ```
//! A distance is computed once, for whichever draws hold the reference; the matrix of distances
//! exists for a block of Q queries only. A list is filled up with [`NONE`] where a prefix has
//! fewer than K references.

use rayon::prelude::*;

use super::{Dispatch, GROUP, Kernel, linear_groups, parallel, shader};
use crate::device::cpu::Memory;
use crate::plan::{Cost, Matrix, Operand, View};
use crate::scalar::Scalar;

/// Neighbours kept per query, draw and size.
pub const K: usize = 16;
/// Stands where there is no K-th neighbour.
pub const NONE: u32 = u32::MAX;
/// Sizes (prefixes of a draw) that one launch handles at most.
pub const MAX_SIZES: usize = 8;

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
    const SHADER: &'static str = shader!("row_norms");

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
        norms
            .par_iter_mut()
            .with_min_len(parallel::rows_per_task(cols))
            .zip(x.par_chunks_exact(cols))
            .for_each(|(norm, row)| *norm = row.iter().map(|&x| x * x).sum());
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.x.rows as u32, self.x.cols as u32],
            groups: linear_groups(self.x.rows),
        }
    }
}

/// Both distances of a chunk of references, from the dot products.
#[derive(Clone, Debug)]
pub struct Distances {
    /// `[Q, chunk]`
    pub dots: Matrix,
    /// `[Q]`
    pub query_norms: View,
    /// `[chunk]`
    pub reference_norms: View,
    /// `[Q, R]`, of which columns `first .. first + chunk` are written.
    pub euclidean: Matrix,
    /// Likewise.
    pub cosine: Matrix,
    /// The chunk's first reference.
    pub first: usize,
}

impl Kernel for Distances {
    const NAME: &'static str = "distances";
    const SHADER: &'static str = shader!("distances");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("dots", self.dots),
            Operand::read("query_norms", self.query_norms),
            Operand::read("reference_norms", self.reference_norms),
            Operand::update("euclidean", self.euclidean),
            Operand::update("cosine", self.cosine),
        ]
    }

    fn flops(&self) -> u64 {
        8 * self.dots.view.len as u64
    }

    fn cost(&self) -> Cost {
        let dots = self.dots.view.len as u64;
        let norms = (self.query_norms.len + self.reference_norms.len) as u64;
        Cost {
            flops: self.flops(),
            read: 4 * (dots + norms),
            written: 4 * 2 * dots,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let chunk = self.dots.cols;
        let ([dots, query_norms, reference_norms], [euclidean, cosine]) = memory.real.access(
            [self.dots.view, self.query_norms, self.reference_norms],
            [self.euclidean.view, self.cosine.view],
        );
        let rows = (
            dots.par_chunks_exact(chunk),
            query_norms,
            euclidean.par_chunks_exact_mut(self.euclidean.cols),
            cosine.par_chunks_exact_mut(self.cosine.cols),
        );
        rows.into_par_iter()
            .for_each(|(dots, &q, euclidean, cosine)| {
                let euclidean = &mut euclidean[self.first..][..chunk];
                let cosine = &mut cosine[self.first..][..chunk];
                parallel::simd(
                    #[inline(always)]
                    || {
                        for i in 0..chunk {
                            let (dot, r) = (dots[i], reference_norms[i]);
                            euclidean[i] = squared_distance(dot, q, r);
                            cosine[i] = cosine_distance(dot, q, r);
                        }
                    },
                );
            });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![
                self.dots.rows as u32,
                self.dots.cols as u32,
                self.euclidean.cols as u32,
                self.first as u32,
            ],
            groups: linear_groups(self.dots.view.len),
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

/// The nearest references of every draw and size.
#[derive(Clone, Debug)]
pub struct Nearest {
    /// `[Q, R]`
    pub distances: Matrix,
    /// Indices `[draws, N]` into the references.
    pub candidates: View,
    /// Number of draws.
    pub draws: usize,
    /// Prefix lengths, ascending, the last being N; at most [`MAX_SIZES`].
    pub sizes: Vec<usize>,
    /// Indices `[Q, draws, sizes, K]`.
    pub neighbours: View,
}

impl Nearest {
    /// Length of `neighbours`.
    pub fn len(queries: usize, draws: usize, sizes: usize) -> usize {
        queries * draws * sizes * K
    }
}

impl Kernel for Nearest {
    const NAME: &'static str = "nearest";
    const SHADER: &'static str = shader!("nearest");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("distances", self.distances),
            Operand::read("candidates", self.candidates),
            Operand::write("neighbours", self.neighbours),
        ]
    }

    fn flops(&self) -> u64 {
        // A comparison per candidate.
        (self.distances.rows * self.candidates.len) as u64
    }

    fn cost(&self) -> Cost {
        // At most: draws that have candidates in common read their distances once.
        let looked_at = self.distances.cols.min(self.candidates.len);
        Cost {
            flops: self.flops(),
            read: 4 * (self.distances.rows * looked_at + self.candidates.len) as u64,
            written: 4 * self.neighbours.len as u64,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let distances = memory.real.read(self.distances.view);
        let ([candidates], [neighbours]) =
            memory.index.access([self.candidates], [self.neighbours]);
        let per_draw = candidates.len() / self.draws;
        neighbours
            .par_chunks_exact_mut(self.draws * self.sizes.len() * K)
            .zip(distances.par_chunks_exact(self.distances.cols))
            .for_each(|(neighbours, distances)| {
                let draws = neighbours.chunks_exact_mut(self.sizes.len() * K);
                for (neighbours, candidates) in draws.zip(candidates.chunks_exact(per_draw)) {
                    let mut list = List::new();
                    let mut done = 0;
                    for (neighbours, &size) in neighbours.chunks_exact_mut(K).zip(&self.sizes) {
                        for &candidate in &candidates[done..size] {
                            list.offer(distances[candidate as usize], candidate);
                        }
                        neighbours.copy_from_slice(&list.indices);
                        done = size;
                    }
                }
            });
    }

    fn gpu(&self) -> Dispatch {
        assert!(self.sizes.len() <= MAX_SIZES, "{} sizes", self.sizes.len());
        let mut dims = vec![
            self.distances.rows as u32,
            self.distances.cols as u32,
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
            constants: vec![("K", format!("{K}u"))],
            dims,
            groups: linear_groups((self.distances.rows * self.draws).max(GROUP)),
        }
    }
}

/// The K nearest so far, nearest first.
struct List<T> {
    distances: [T; K],
    indices: [u32; K],
}

impl<T: Scalar> List<T> {
    fn new() -> Self {
        List {
            distances: [T::infinity(); K],
            indices: [NONE; K],
        }
    }

    /// Takes in a candidate unless K others are nearer, by (distance, index).
    #[inline(always)]
    fn offer(&mut self, distance: T, index: u32) {
        // Nearly all candidates end here, after one comparison.
        if distance > self.distances[K - 1] {
            return;
        }
        self.insert(distance, index);
    }

    #[inline(never)]
    fn insert(&mut self, distance: T, index: u32) {
        let nearer = |i: usize| (distance, index) < (self.distances[i], self.indices[i]);
        if !nearer(K - 1) {
            return;
        }
        let mut place = K - 1;
        while place > 0 && nearer(place - 1) {
            place -= 1;
        }
        self.distances[place..].rotate_right(1);
        self.indices[place..].rotate_right(1);
        self.distances[place] = distance;
        self.indices[place] = index;
    }
}
