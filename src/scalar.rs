//! The two floating-point types the CPU device computes in.
//!
//! Every CPU kernel is generic over [`Scalar`]: `f32` trains, `f64` checks the very same code's
//! gradients to more digits than `f32` holds.

use std::fmt::{Debug, Display};
use std::iter::Sum;

use num_traits::{Float, NumAssign};

/// `f32` or `f64`, with the matrix product that `matrixmultiply` offers for it.
pub trait Scalar:
    Float + NumAssign + Sum + Debug + Display + Default + bytemuck::Pod + Send + Sync + 'static
{
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// Rounds a double to this type.
    fn of(value: f64) -> Self;

    /// Widens to a double, exactly.
    fn to_double(self) -> f64;

    /// `C[m,n] ← A[m,k]·B[k,n]`, every matrix with a row and a column stride (in elements).
    ///
    /// # Safety
    /// As for [`matrixmultiply::sgemm`]: each pointer with its strides must stay inside one live
    /// allocation, and nothing else may touch C meanwhile.
    unsafe fn gemm(
        dims: [usize; 3],
        a: (*const Self, [isize; 2]),
        b: (*const Self, [isize; 2]),
        c: (*mut Self, [isize; 2]),
    );
}

macro_rules! scalar {
    ($type:ident, $gemm:path) => {
        impl Scalar for $type {
            const NAME: &'static str = stringify!($type);

            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $type
            }

            #[inline(always)]
            fn to_double(self) -> f64 {
                self as f64
            }

            unsafe fn gemm(
                [m, k, n]: [usize; 3],
                (a, [rsa, csa]): (*const Self, [isize; 2]),
                (b, [rsb, csb]): (*const Self, [isize; 2]),
                (c, [rsc, csc]): (*mut Self, [isize; 2]),
            ) {
                // SAFETY: the caller's promise is matrixmultiply's own.
                unsafe { $gemm(m, k, n, 1.0, a, rsa, csa, b, rsb, csb, 0.0, c, rsc, csc) }
            }
        }
    };
}

scalar!(f32, matrixmultiply::sgemm);
scalar!(f64, matrixmultiply::dgemm);
