//! Products large enough for the large tile, small enough for the small one, and deep enough to be cut
//! into parts.

use diabolo::kernels::Activation;
use diabolo::kernels::gemm::Gemm;

use super::harness::{Adapter, Case, gpu};
use super::{EPSILON, through};

/// One product in one transpose case, with bias and sigmoid or without. Returns how many dispatches
/// the GPU needed.
fn check(
    adapter: &Adapter,
    [m, k, n]: [usize; 3],
    [transpose_a, transpose_b]: [bool; 2],
    epilogue: bool,
) -> usize {
    let mut test = Case::new(m + k + n);
    let (a, b) = (test.real("a", m * k), test.real("b", k * n));
    let bias = epilogue.then(|| test.real("bias", n));
    let activation = match epilogue {
        true => Activation::Sigmoid,
        false => Activation::Identity,
    };
    let y = test.output("y", m * n);
    let stored = |view: diabolo::buffer::View, transposed, rows, cols| match transposed {
        true => view.matrix(cols, rows),
        false => view.matrix(rows, cols),
    };
    let product = Gemm {
        transpose_a,
        transpose_b,
        ..Gemm::new(
            stored(a, transpose_a, m, k),
            stored(b, transpose_b, k, n),
            y.matrix(m, n),
        )
    };
    let magnitudes = test.magnitudes(product.clone(), y);
    let ready = test.finish(Gemm {
        bias,
        activation,
        ..product
    });
    ready.compare(adapter, |_, i, _| {
        let sum = 4.0 * (k as f64).sqrt() * EPSILON * magnitudes[i];
        match epilogue {
            // The bias is below 1, and rounds once more with the sum.
            true => {
                let argument = magnitudes[i] + 1.0;
                through(activation, argument, sum + 2.0 * EPSILON * argument)
            }
            false => sum,
        }
    });
    let launch = &ready.plan.routines[0].launches[0];
    launch.kernel.steps(ready.plan.scratch()).len()
}

pub fn products_of_every_cut_are_right() {
    let Some(adapter) = gpu() else { return };
    // m, k, n; dispatches without an epilogue.
    let shapes = [
        ([128, 784, 512], 1), // an encoder's layers, batch 128, all small tiles
        ([128, 512, 256], 2), // too few of them
        ([128, 3136, 64], 2),
        ([1, 3136, 1], 2),
        ([31, 256, 33], 2),
        ([129, 257, 127], 2),
        ([33, 255, 31], 1),   // not deep enough
        ([449, 33, 450], 1),  // large tiles, ragged
        ([449, 129, 450], 1), // whatever the depth
    ];
    for (shape, dispatches) in shapes {
        for transposed in [[false, false], [true, false], [false, true], [true, true]] {
            assert_eq!(check(&adapter, shape, transposed, false), dispatches);
        }
        // A sum of parts could not be followed by an activation.
        assert_eq!(check(&adapter, shape, [false, true], true), 1);
    }
}
