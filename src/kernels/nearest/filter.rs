//! The nearest of all, without most of the long dot products: filter and refine.
//!
//! With V an orthonormal basis of a few directions `[D, d]`, and ρ what of a row x is outside of them,
//!
//! ```text
//! sketch(x) = [xᵀV, |ρ|]                         d + 1 numbers, |ρ|² = |x|² − |xᵀV|²
//! q · r     = qᵀV · rᵀV + ρ_q · ρ_r  ≤  sketch(q) · sketch(r)          Cauchy and Schwarz
//! ```
//! So a short product bounds every dot product from above, and thereby both distances from below. Only
//! a reference whose bound is not beyond the k-th nearest so far is multiplied out, for the
//! [`LANES`] queries of a group at once, by the same sums as in the whole product: what is found has the
//! same bits, whatever the directions are. They decide how many are multiplied out; the first
//! principal ones, in which references differ most, leave a few in a hundred.
//!
//! **Rounding.** The bound must hold for the numbers that are computed, so |ρ|² is taken too large by
//! δ|x|², by which sketch(q) · sketch(r) grows by δ|q||r| at least. With u the unit roundoff and γ = u·D,
//! the relative error of a sum of D terms, what that has to make up for is, in parts of |q||r|: the
//! product that is bounded, γ; the bound's own, u(d + 1); norms, γ; xᵀV, at most √d γ, which enters
//! twice with each row; and that V, rounded, is orthonormal to 2√d u only, thrice. All these together are
//! less than [`slack`]. The distances are monotonous functions of the dot product, after rounding
//! too, so that bounds of these need no more.

use super::{Distance, K, LANES, NONE, NearestOfAll, lanes};
use crate::buffer::{Matrix, Operand, View};
use crate::kernels::host::{Memory, ScratchSize};
use crate::kernels::parallel::{self, chunks_of, each_part, with_constant};
use crate::kernels::product::{Left, Target, fill, multiply, pack, panel_len};
use crate::kernels::{Dispatch, Kernel, linear_groups, shader};
use crate::scalar::Scalar;

/// δ: what is added to |ρ|², in parts of |x|², for rows of `width` values and `directions`.
///
/// Bases are handed over in `f32`, so its rounding counts in `f64` too.
fn slack([width, directions]: [usize; 2]) -> f32 {
    let unit = f32::EPSILON / 2.0;
    4.0 * ((directions as f32).sqrt() + 2.0) * (width + directions + 8) as f32 * unit
}

/// The last column of sketches, `|ρ| = √(|x|² − |xᵀV|²)`, rounded up; the others are there, and this
/// one is 0.
#[derive(Clone, Debug)]
pub struct Residuals {
    /// `[R, d + 1]`
    pub sketches: Matrix,
    /// |x|² `[R]`
    pub norms: View,
    /// D
    pub width: usize,
}

impl Residuals {
    /// δ
    pub fn slack(&self) -> f32 {
        slack([self.width, self.sketches.cols - 1])
    }
}

impl Kernel for Residuals {
    const NAME: &'static str = "residuals";
    const SHADER: &'static str = shader!([] "shared/element", "residuals");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::update("sketches", self.sketches),
            Operand::read("norms", self.norms),
        ]
    }

    fn flops(&self) -> u64 {
        // A square and a sum each; difference, comparison, slack and root a row.
        (2 * self.sketches.view.len + 5 * self.sketches.rows) as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let cols = self.sketches.cols;
        let slack = T::of(self.slack().into());
        let ([norms], [sketches]) = memory.real.access([self.norms], [self.sketches.view]);
        for (sketch, &norm) in sketches.chunks_exact_mut(cols).zip(norms) {
            let (residual, inside) = sketch.split_last_mut().expect("a column at least");
            let outside = norm - inside.iter().map(|&x| x * x).sum();
            // Rounding may leave a little below zero; a NaN stays a NaN.
            let outside = if outside < T::zero() {
                T::zero()
            } else {
                outside
            };
            // The smallest number makes up for what underflows.
            *residual = (outside + slack * norm + T::min_positive_value()).sqrt();
        }
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![
                self.sketches.rows as u32,
                self.sketches.cols as u32,
                self.slack().to_bits(),
            ],
            groups: linear_groups(self.sketches.rows),
        }
    }
}

/// [`NearestOfAll`] from bounds of the dot products: the same lists.
#[derive(Clone, Debug)]
pub struct NearestFiltered {
    /// What is looked for; in the place of the dot products, numbers not below them.
    pub of_all: NearestOfAll,
    /// `[Q, D]`
    pub queries: Matrix,
    /// `[chunk, D]`
    pub references: Matrix,
}

/// References that are multiplied out at a time: enough for whole tiles of the product, and few, since
/// each may bring the k-th nearest closer.
const AT_A_TIME: usize = 32;

impl Kernel for NearestFiltered {
    const NAME: &'static str = "nearest_filtered";
    const SHADER: &'static str = shader!([K = K, LANES = LANES, NONE = NONE] "shared/element", "shared/distance", "shared/list", "shared/list_in_chunks", "nearest_filtered");

    fn operands(&self) -> Vec<Operand> {
        let of_all = &self.of_all;
        let [nearest, neighbours] = of_all.lists();
        vec![
            Operand::read("bounds", of_all.dots),
            Operand::read("queries", self.queries),
            Operand::read("references", self.references),
            Operand::read("query_norms", of_all.query_norms),
            Operand::read("reference_norms", of_all.reference_norms),
            nearest,
            neighbours,
        ]
    }

    fn flops(&self) -> u64 {
        // Besides, a product for as many as the lists are long: at least.
        let NearestOfAll { dots, k, first, .. } = self.of_all;
        let products = if first == 0 { k.min(dots.rows) } else { 0 };
        self.of_all.flops() + (2 * products * self.queries.view.len) as u64
    }

    fn scratch(&self) -> ScratchSize {
        let width = self.queries.cols;
        ScratchSize {
            reals: panel_len::<f32>(width) + AT_A_TIME * LANES,
            places: width + AT_A_TIME,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let NearestOfAll {
            distance,
            k,
            dots: bounds,
            query_norms,
            reference_norms,
            first: first_of_chunk,
            nearest,
            neighbours,
        } = self.of_all;
        let bounds_per_row = bounds.cols;
        let ([bounds, queries, references, query_norms, reference_norms], [nearest]) =
            memory.real.access(
                [
                    bounds.view,
                    self.queries.view,
                    self.references.view,
                    query_norms,
                    reference_norms,
                ],
                [nearest],
            );
        let neighbours = memory.index.write(neighbours);
        let (scratch, width) = (&memory.scratch, self.queries.cols);
        let parts = (
            chunks_of(nearest, k * LANES),
            chunks_of(neighbours, k * LANES),
        );
        each_part(
            &memory.team,
            parts,
            |member, group, (nearest, neighbours)| {
                let first = group * LANES;
                let cols = LANES.min(self.queries.rows - first);
                let q = lanes(query_norms, first);
                let mut lists = self.of_all.so_far(nearest, neighbours);
                scratch.with(member, self.scratch(), |reals, places| {
                    let (panel, dots) = reals.split_at_mut(panel_len::<T>(width));
                    let (steps, passed) = places.split_at_mut(width);
                    fill(steps, 0..width);
                    let queries = &queries[first * width..];
                    let queries = pack(queries, [1, width], [width, cols], panel);
                    let mut rows = bounds.chunks_exact(bounds_per_row).enumerate();
                    with_constant!(distance, Distance::{Euclidean, Cosine}, D => loop {
                        let count = parallel::simd(
                            #[inline(always)]
                            || {
                                let mut count = 0;
                                for (reference, row) in rows.by_ref() {
                                    let mut distances = lanes(row, first);
                                    let r = reference_norms[reference];
                                    for lane in 0..LANES {
                                        distances[lane] = D.of_dot(distances[lane], q[lane], r);
                                    }
                                    if lists.may_take(&distances) {
                                        passed[count] = reference;
                                        count += 1;
                                        if count == AT_A_TIME {
                                            break;
                                        }
                                    }
                                }
                                count
                            },
                        );
                        if count == 0 {
                            break;
                        }
                        let left = Left {
                            values: references,
                            row: |i: usize| passed[i] * width,
                            steps,
                        };
                        // SAFETY: the scratch memory is this task's alone.
                        unsafe {
                            let target = Target::new(dots);
                            multiply(0..count, left, queries, target, |i| i * LANES, false);
                        }
                        parallel::simd(
                            #[inline(always)]
                            || {
                                let rows = dots.chunks_exact(LANES);
                                for (row, &reference) in rows.zip(&passed[..count]) {
                                    let mut distances = lanes(&row[..cols], 0);
                                    let r = reference_norms[reference];
                                    for lane in 0..LANES {
                                        distances[lane] = D.of_dot(distances[lane], q[lane], r);
                                    }
                                    lists.offer(&distances, (first_of_chunk + reference) as u32);
                                }
                                lists.settle();
                            },
                        );
                    });
                });
                lists.save(nearest, neighbours);
            },
        );
    }

    fn gpu(&self) -> Dispatch {
        let of_all = self.of_all.gpu();
        let [queries, chunk, first] = of_all.dims[..] else {
            unreachable!("queries, references and where they begin")
        };
        Dispatch {
            dims: vec![queries, chunk, self.queries.cols as u32, first],
            ..of_all
        }
    }
}
