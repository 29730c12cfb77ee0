//! How CPU kernels spread over threads and vector lanes.

use rayon::prelude::*;

/// Elements that one task of an elementwise kernel handles: enough to outweigh handing it over.
const CHUNK: usize = 1 << 14;

/// Whole rows that one task of a row-wise kernel handles.
pub(super) fn rows_per_task(cols: usize) -> usize {
    (CHUNK / cols.max(1)).max(1)
}

/// Calls `task(first_element, elements)` for chunks of `target` in parallel; chunks begin at
/// multiples of `align`.
pub(super) fn chunks<T: Send>(
    target: &mut [T],
    align: usize,
    task: impl Fn(usize, &mut [T]) + Sync,
) {
    let size = CHUNK.next_multiple_of(align.max(1));
    target
        .par_chunks_mut(size)
        .enumerate()
        .for_each(|(chunk, elements)| task(chunk * size, elements));
}

/// Runs a closure compiled for the widest vector unit of this processor. Pass it as
/// `#[inline(always)] || …`: only code inlined into it profits.
///
/// Rust never contracts or reorders floating-point arithmetic, so the width does not change a bit
/// of the result.
#[inline(always)]
pub(super) fn simd<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

/// Evaluates `body` with `NAME` a constant equal to `value`, one of the listed variants: the choice
/// is made once, outside the loops, which then compile to straight vector code.
macro_rules! with_constant {
    ($value:expr, $type:ident::{$($variant:ident),+}, $name:ident => $body:expr) => {
        match $value {
            $($type::$variant => {
                const $name: $type = $type::$variant;
                $body
            })+
        }
    };
}
pub(super) use with_constant;

/// [`with_constant`] over every activation.
macro_rules! with_activation {
    ($value:expr, $name:ident => $body:expr) => {
        crate::kernels::parallel::with_constant!(
            $value,
            Activation::{Identity, Relu, LeakyRelu, Elu, Sigmoid, Tanh, Softplus},
            $name => $body)
    };
}
pub(super) use with_activation;
