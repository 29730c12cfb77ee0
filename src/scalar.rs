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

    /// eˣ, written so that compilers make vector code of it; a NaN stays a NaN.
    fn exponential(self) -> Self;

    /// eˣ − 1, to as many digits near 0 as elsewhere; a NaN stays a NaN.
    fn exponential_minus_one(self) -> Self;

    /// `C[m,n] ← A[m,k]·B[k,n] + beta·C`, every matrix with a row and a column stride (in elements).
    ///
    /// # Safety
    /// As for [`matrixmultiply::sgemm`]: each pointer with its strides must stay inside one live
    /// allocation, and nothing else may touch C meanwhile.
    unsafe fn gemm(
        dims: [usize; 3],
        a: (*const Self, [isize; 2]),
        b: (*const Self, [isize; 2]),
        beta: Self,
        c: (*mut Self, [isize; 2]),
    );

    /// `c [m, n] = op(a) [m, k] · op(b) [k, n]`, row-major; a factor is taken transposed if its flag
    /// says so, and is then stored as `[k, m]` or `[n, k]`.
    ///
    /// Panics if a slice has not as many elements as its shape.
    fn product(dims: [usize; 3], a: (&[Self], bool), b: (&[Self], bool), c: &mut [Self]) {
        product(dims, a, b, Self::zero(), c);
    }

    /// `c += op(a) · op(b)`, as in [`product`](Self::product).
    fn add_product(dims: [usize; 3], a: (&[Self], bool), b: (&[Self], bool), c: &mut [Self]) {
        product(dims, a, b, Self::one(), c);
    }
}

fn product<T: Scalar>(
    [m, k, n]: [usize; 3],
    (a, transpose_a): (&[T], bool),
    (b, transpose_b): (&[T], bool),
    beta: T,
    c: &mut [T],
) {
    assert!(
        [a.len(), b.len(), c.len()] == [m * k, k * n, m * n],
        "a product of {m}×{k} by {k}×{n}"
    );
    let strides = |transposed, rows: usize, cols: usize| match transposed {
        true => [1, rows as isize],
        false => [cols as isize, 1],
    };
    let (a_strides, b_strides) = (strides(transpose_a, m, k), strides(transpose_b, k, n));
    // SAFETY: the slices hold all elements of their shapes, and c is borrowed for writing.
    unsafe {
        T::gemm(
            [m, k, n],
            (a.as_ptr(), a_strides),
            (b.as_ptr(), b_strides),
            beta,
            (c.as_mut_ptr(), [n as isize, 1]),
        );
    }
}

macro_rules! scalar {
    ($type:ident, $gemm:path, $exponential:expr, $minus_one:expr) => {
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

            #[inline(always)]
            fn exponential(self) -> Self {
                $exponential(self)
            }

            #[inline(always)]
            fn exponential_minus_one(self) -> Self {
                $minus_one(self)
            }

            unsafe fn gemm(
                [m, k, n]: [usize; 3],
                (a, [rsa, csa]): (*const Self, [isize; 2]),
                (b, [rsb, csb]): (*const Self, [isize; 2]),
                beta: Self,
                (c, [rsc, csc]): (*mut Self, [isize; 2]),
            ) {
                // SAFETY: the caller's promise is matrixmultiply's own.
                unsafe { $gemm(m, k, n, 1.0, a, rsa, csa, b, rsb, csb, beta, c, rsc, csc) }
            }
        }
    };
}

scalar!(
    f32,
    matrixmultiply::sgemm,
    exponential_f32,
    exponential_minus_one_f32
);
scalar!(f64, matrixmultiply::dgemm, f64::exp, f64::exp_m1);

/// eˣ = 2ⁿ·eʳ to two ulps.
#[inline(always)]
fn exponential_f32(x: f32) -> f32 {
    let (power, rest) = split_exponential(x);
    (1.0 + rest) * power
}

/// eˣ − 1 = 2ⁿ·(eʳ − 1) + (2ⁿ − 1), where nothing cancels.
#[inline(always)]
fn exponential_minus_one_f32(x: f32) -> f32 {
    let (power, rest) = split_exponential(x);
    rest * power + (power - 1.0)
}

/// 2ⁿ and eʳ − 1, with n the integer nearest to x/ln 2 and |r| ≤ ln 2 / 2, by Taylor's series.
/// Beyond ±87, x counts as ±87.
#[inline(always)]
fn split_exponential(x: f32) -> (f32, f32) {
    /// Adding 1.5·2²³ leaves a float's nearest integer in the last bits of its mantissa.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with few enough bits that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let series = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r / 5040.0)));
    let rest = r * (1.0 + r * (1.0 / 2.0 + r * series));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    (power, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_good_to_two_ulps() {
        for i in -87_000..=87_000 {
            let x = i as f32 / 1000.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(x.exponential()) - exact).abs() / exact;
            assert!(error <= 2.0 * f64::from(f32::EPSILON), "e^{x}: {error:e}");
        }
        assert_eq!(0.0f32.exponential_minus_one(), 0.0);
        for i in 1..=87_000 {
            // Small ones too: here lies what 1 would swallow.
            for x in [
                i as f32 / 1000.0,
                i as f32 * 1e-9,
                -i as f32 / 1000.0,
                -i as f32 * 1e-9,
            ] {
                let exact = f64::from(x).exp_m1();
                let error = (f64::from(x.exponential_minus_one()) - exact).abs() / exact.abs();
                assert!(
                    error <= 2.0 * f64::from(f32::EPSILON),
                    "e^{x} − 1: {error:e}"
                );
            }
        }
        assert_eq!(0.0f32.exponential(), 1.0);
        assert!(f32::NAN.exponential().is_nan());
        assert!(f32::NEG_INFINITY.exponential() < 1e-37);
        assert!(f32::INFINITY.exponential() > 1e37);
    }
}
