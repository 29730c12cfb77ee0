//! Every rung of the ladder makes the same product.

use diabolo::kernels::Kernel;
use diabolo::kernels::gemm::{Gemm, definition};
use diabolo::kernels::gemm_ladder::Rung;

use super::EPSILON;
use super::harness::{Adapter, Case, gpu};

fn check<const N: usize>(adapter: &Adapter, [m, k, n]: [usize; 3])
where
    Rung<N>: Kernel,
{
    let mut test = Case::new(m + k + n);
    let a = test.real("a", m * k).matrix(m, k);
    let b = test.real("b", k * n).matrix(k, n);
    let y = test.output("y", m * n).matrix(m, n);
    let magnitudes = test.magnitudes(Gemm::new(a, b, y), y.view);
    let ready = test.finish(Rung::<N> { a, b, y });
    ready.compare(adapter, |_, index, _| {
        4.0 * (k as f64).sqrt() * EPSILON * magnitudes[index]
    });
    let [a, b] = [a, b].map(|factor| ready.given(factor.view));
    let product = (0..m * n).map(|index| {
        let (a, b) = (|i, p| a[i * k + p], |p, j| b[p * n + j]);
        definition::product(a, b, k, [index / n, index % n])
    });
    ready.defined(y.view, &product.collect::<Vec<_>>());
}

pub fn every_rung_of_the_ladder_is_right_on_ragged_sizes() {
    let Some(adapter) = gpu() else { return };
    let subgroups = adapter.shipped.has_subgroups();
    if !subgroups {
        println!("skipped: the rung for subgroups, which the adapter does not have");
    }
    for size in [1, 31, 33, 127, 129, 513] {
        // Square, and with each side in turn the odd one out.
        for dims in [[size; 3], [size, 70, 17], [5, size, 66], [40, 18, size]] {
            check::<0>(&adapter, dims);
            check::<1>(&adapter, dims);
            check::<2>(&adapter, dims);
            check::<3>(&adapter, dims);
            check::<4>(&adapter, dims);
            if subgroups {
                check::<5>(&adapter, dims);
            }
        }
    }
}
