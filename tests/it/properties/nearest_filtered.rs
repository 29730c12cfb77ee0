//! Filter and refine finds, to the last bit, what the whole product finds.

use diabolo::buffer::{Matrix, View};
use diabolo::device::Device;
use diabolo::device::cpu::Precision;
use diabolo::kernels::gemm::Gemm;
use diabolo::kernels::nearest::{Distance, K, NONE, NearestFiltered, NearestOfAll, Residuals};
use nalgebra::DMatrix;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseResult;

use super::bench::{Bench, single, uniform};
use super::for_all;
use super::nearest::row_norms;
use super::shapes::side;

/// What rows are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    /// Uniform.
    Uniform,
    /// Near a subspace of few dimensions, in which the basis lies: bounds are tight.
    Flat,
    /// Each four times.
    Repeated,
    /// All the same but for the last bits.
    Crowded,
    /// Of norms from 1e-25 to 1e25, whose squares overflow and underflow.
    Scaled,
    /// With zeros, NaN and infinities among them.
    Broken,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    queries: usize,
    references: usize,
    width: usize,
    directions: usize,
    k: usize,
    rows: Rows,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let rows = [
        Rows::Uniform,
        Rows::Flat,
        Rows::Repeated,
        Rows::Crowded,
        Rows::Scaled,
        Rows::Broken,
    ];
    let sides = (1..=40usize, 1..=300usize, side(), side());
    (sides, 1..=K, select(rows.to_vec()), 0..1000u64).prop_map(
        |((queries, references, width, directions), k, rows, seed)| Case {
            queries,
            references,
            width,
            directions: directions.min(width),
            k,
            rows,
            seed,
        },
    )
}

impl Case {
    /// An orthonormal basis, rounded as it is handed over, and a column of zeros `[width, d + 1]`.
    fn basis(&self) -> Vec<f64> {
        let random = uniform(self.width * self.directions, self.seed + 2);
        let basis = DMatrix::from_vec(self.width, self.directions, random)
            .qr()
            .q();
        let basis = basis.insert_column(self.directions, 0.0);
        basis
            .transpose()
            .iter()
            .map(|&value| single(value))
            .collect()
    }

    fn values(&self, count: usize, seed: u64) -> Vec<f64> {
        let (width, basis) = (self.width, self.basis());
        let mut values = uniform(count * width, self.seed + seed);
        let first = values[..width].to_vec();
        for (index, row) in values.chunks_exact_mut(width).enumerate() {
            match self.rows {
                Rows::Uniform | Rows::Repeated => (),
                Rows::Flat => {
                    for (value, along) in row.iter_mut().zip(basis.chunks(self.directions + 1)) {
                        *value = single(1e-3 * *value + along[0] * (index % 7) as f64);
                    }
                }
                Rows::Crowded => {
                    let (one, other) = (row.iter_mut(), &first);
                    one.zip(other).for_each(|(x, y)| *x = single(y + 1e-7 * *x));
                }
                Rows::Scaled => {
                    let scale = 10f64.powi(5 * (index % 11) as i32 - 25);
                    row.iter_mut()
                        .for_each(|value| *value = single(*value * scale));
                }
                Rows::Broken => match index % 5 {
                    1 => row.fill(0.0),
                    2 => row[index % width] = f64::NAN,
                    3 => row[index % width] = f64::INFINITY,
                    _ => (),
                },
            }
        }
        if self.rows == Rows::Repeated {
            values = values.chunks(width).flat_map(|row| row.repeat(4)).collect();
            values.truncate(count * width);
        }
        values
    }
}

/// Sketches of the rows of `x`.
fn sketches(bench: &mut Bench, x: Matrix, basis: Matrix, norms: View) -> Matrix {
    let sketches = bench.output(x.rows * basis.cols);
    let sketches = sketches.matrix(x.rows, basis.cols);
    bench.launch(Gemm::new(x, basis, sketches));
    bench.launch(Residuals {
        sketches,
        norms,
        width: x.cols,
    });
    sketches
}

/// Views of what a search leaves.
struct Left {
    /// Distances and indices by each distance, from the whole product and from bounds.
    lists: Vec<[(View, View); 2]>,
    /// Of every chunk, bounds and dots.
    products: Vec<(View, View)>,
}

/// Searches in two chunks, if there are as many references.
fn search(bench: &mut Bench, case: &Case) -> Left {
    let &Case {
        queries,
        references,
        width,
        directions,
        k,
        ..
    } = case;
    let q = bench.given(&case.values(queries, 0)).matrix(queries, width);
    let all = bench.given(&case.values(references, 1));
    let basis = bench.given(&case.basis()).matrix(width, directions + 1);
    let query_norms = row_norms(bench, q);
    let query_sketches = sketches(bench, q, basis, query_norms);
    let len = NearestOfAll::len(queries, k);
    let lists: Vec<[(View, View); 2]> = Distance::ALL
        .iter()
        .map(|_| [(); 2].map(|()| (bench.output(len), bench.indices(&vec![0; len]))))
        .collect();
    let mut products = Vec::new();
    let middle = references.div_ceil(2);
    for (first, chunk) in [(0, middle), (middle, references - middle)] {
        if chunk == 0 {
            continue;
        }
        let part = all.part(first * width, chunk * width).matrix(chunk, width);
        let reference_norms = row_norms(bench, part);
        let reference_sketches = sketches(bench, part, basis, reference_norms);
        let mut product = |a, b| {
            let y = bench.output(chunk * queries).matrix(chunk, queries);
            bench.launch(Gemm::new(a, b, y).transpose_b());
            y
        };
        let (bounds, dots) = (
            product(reference_sketches, query_sketches),
            product(part, q),
        );
        products.push((bounds.view, dots.view));
        for (&distance, &[whole, filtered]) in Distance::ALL.iter().zip(&lists) {
            let of_all = |dots, (nearest, neighbours)| NearestOfAll {
                distance,
                k,
                dots,
                query_norms,
                reference_norms,
                first,
                nearest,
                neighbours,
            };
            bench.launch(of_all(dots, whole));
            bench.launch(NearestFiltered {
                of_all: of_all(bounds, filtered),
                queries: q,
                references: part,
            });
        }
    }
    Left { lists, products }
}

fn same<T: Precision>(bench: &Bench, left: &Left) -> TestCaseResult {
    let mut device = bench.run::<T>();
    for (distance, [whole, filtered]) in Distance::ALL.iter().zip(&left.lists) {
        let [one, other] = [whole, filtered]
            .map(|list| bytemuck::cast_slice::<T, u8>(device.reals(list.0)).to_vec());
        prop_assert_eq!(one, other, "{} distances in {}", distance.name(), T::NAME);
        let [one, other] =
            [whole, filtered].map(|list| device.read_index(list.1).expect("readable"));
        prop_assert_eq!(one, other, "by {} in {}", distance.name(), T::NAME);
    }
    for &(bounds, dots) in &left.products {
        for (&bound, &dot) in device.reals(bounds).iter().zip(device.reals(dots)) {
            let nan = bound.is_nan() || dot.is_nan();
            prop_assert!(
                nan || bound >= dot,
                "{bound} is no bound of {dot} in {}",
                T::NAME
            );
        }
    }
    Ok(())
}

#[test]
fn what_is_found_through_a_filter_has_the_bits_of_the_whole_product_whatever_the_rows() {
    for_all(768, case(), |case| {
        let mut bench = Bench::new();
        let left = search(&mut bench, &case);
        same::<f32>(&bench, &left)?;
        same::<f64>(&bench, &left)
    });
}

#[test]
fn a_reference_beyond_the_nearest_by_its_bound_is_not_looked_at() {
    // All at distance 0 from the query, but bounds say of every other that it is at 2 at least.
    let (count, k) = (100, 3);
    let mut bench = Bench::new();
    let ones = |bench: &mut Bench, rows: usize| bench.given(&vec![1.0; rows]).matrix(rows, 1);
    let (queries, references) = (ones(&mut bench, 1), ones(&mut bench, count));
    let bounds: Vec<f64> = (0..count).map(|i| [0.0, 1.0][i % 2]).collect();
    let norms = [queries, references].map(|rows| row_norms(&mut bench, rows));
    let len = NearestOfAll::len(1, k);
    let neighbours = bench.indices(&vec![NONE; len]);
    let kernel = NearestFiltered {
        of_all: NearestOfAll {
            distance: Distance::Euclidean,
            k,
            dots: bench.given(&bounds).matrix(count, 1),
            query_norms: norms[0],
            reference_norms: norms[1],
            first: 1000,
            nearest: bench.given(&vec![1.0; len]),
            neighbours,
        },
        queries,
        references,
    };
    bench.launch(kernel);
    let found = bench.run::<f32>().read_index(neighbours).expect("readable");
    let found: Vec<u32> = (0..k)
        .map(|place| found[NearestOfAll::at(k, 0, place)])
        .collect();
    assert_eq!(found, [1001, 1003, 1005]);
}
