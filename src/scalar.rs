//! The two floating-point types the CPU device computes in.
//!
//! Every CPU kernel is generic over [`Scalar`]: `f32` trains, `f64` checks the very same code's
//! gradients to more digits than `f32` holds.

use std::fmt::{Debug, Display};
use std::iter::Sum;

use bytemuck::Pod;
use num_traits::{AsPrimitive, Float, NumAssign};
use pulp::Simd;

/// Unit roundoff of `f32`.
pub const EPSILON: f64 = 1.0 / (1 << 24) as f64;

/// `f32` or `f64`, and what kernels need of it: vectors, and an exponential that vectorises.
pub trait Scalar:
    Float + NumAssign + Sum + Debug + Display + Default + Pod + Send + Sync + 'static
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

    /// ln(1 + u) for u from 0 to 1, likewise.
    fn logarithm_of_one_plus(self) -> Self;

    /// erf x = 2/√π ∫ e^(−t²) dt from 0 to x.
    fn error_function(self) -> Self;

    /// A vector register's worth.
    type Vector<S: Simd>: Copy;

    /// How many a vector holds.
    fn lanes<S: Simd>() -> usize;

    /// The same number in every lane.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;

    /// a + b
    fn add_vectors<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// a·b + c, rounded once where the processor can.
    fn multiply_add<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;

    /// An unsigned integer as wide as the number.
    type Index: Pod + From<u32> + AsPrimitive<u32>;

    /// As many as a vector holds numbers.
    type Indices<S: Simd>: Copy;

    /// In each lane the lesser and the greater of two pairs of a number and an index, by the number first,
    /// neither of them a NaN.
    fn in_order<S: Simd>(
        simd: S,
        a: (Self::Vector<S>, Self::Indices<S>),
        b: (Self::Vector<S>, Self::Indices<S>),
    ) -> [(Self::Vector<S>, Self::Indices<S>); 2];

    /// [`multiply_add`](Self::multiply_add) of one number, to the same bit as in a vector of `S`.
    fn multiply_add_one<S: Simd>(a: Self, b: Self, c: Self) -> Self;
}

macro_rules! scalar {
    (
        $type:ident, $exponential:expr, $minus_one:expr, $logarithm:expr, $error_function:expr,
        $vector:ident, $lanes:ident, $splat:ident, $add:ident, $multiply_add:ident,
        $index:ident, $indices:ident, $less:ident, $equal:ident, $less_index:ident,
        $and:ident, $or:ident, $select:ident, $select_index:ident
    ) => {
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

            #[inline(always)]
            fn logarithm_of_one_plus(self) -> Self {
                $logarithm(self)
            }

            fn error_function(self) -> Self {
                $error_function(self)
            }

            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$lanes
            }

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S> {
                simd.$splat(value)
            }

            #[inline(always)]
            fn add_vectors<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn multiply_add<S: Simd>(
                simd: S,
                a: Self::Vector<S>,
                b: Self::Vector<S>,
                c: Self::Vector<S>,
            ) -> Self::Vector<S> {
                simd.$multiply_add(a, b, c)
            }

            type Index = $index;
            type Indices<S: Simd> = S::$indices;

            #[inline(always)]
            fn in_order<S: Simd>(
                simd: S,
                (a, a_index): (Self::Vector<S>, Self::Indices<S>),
                (b, b_index): (Self::Vector<S>, Self::Indices<S>),
            ) -> [(Self::Vector<S>, Self::Indices<S>); 2] {
                let tied = simd.$and(simd.$equal(a, b), simd.$less_index(b_index, a_index));
                let swap = simd.$or(simd.$less(b, a), tied);
                let pick = |a, b, a_index, b_index| {
                    let number = simd.$select(swap, b, a);
                    (number, simd.$select_index(swap, b_index, a_index))
                };
                [pick(a, b, a_index, b_index), pick(b, a, b_index, a_index)]
            }

            #[inline(always)]
            fn multiply_add_one<S: Simd>(a: Self, b: Self, c: Self) -> Self {
                // All vector units that pulp chooses from have fused multiply-adds.
                if S::IS_SCALAR {
                    a * b + c
                } else {
                    a.mul_add(b, c)
                }
            }
        }
    };
}

scalar!(
    f32,
    exponential_f32,
    exponential_minus_one_f32,
    logarithm_of_one_plus_f32,
    libm::erff,
    f32s,
    F32_LANES,
    splat_f32s,
    add_f32s,
    mul_add_e_f32s,
    u32,
    u32s,
    less_than_f32s,
    equal_f32s,
    less_than_u32s,
    and_m32s,
    or_m32s,
    select_f32s,
    select_u32s
);
scalar!(
    f64,
    f64::exp,
    f64::exp_m1,
    f64::ln_1p,
    libm::erf,
    f64s,
    F64_LANES,
    splat_f64s,
    add_f64s,
    mul_add_e_f64s,
    u64,
    u64s,
    less_than_f64s,
    equal_f64s,
    less_than_u64s,
    and_m64s,
    or_m64s,
    select_f64s,
    select_u64s
);

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

/// ln(1 + u) = 2 artanh(s) with s = u/(2 + u) ≤ ⅓, by its series.
#[inline(always)]
fn logarithm_of_one_plus_f32(u: f32) -> f32 {
    let s = u / (2.0 + u);
    let s2 = s * s;
    let series = 1.0 / 9.0 + s2 * (1.0 / 11.0 + s2 * (1.0 / 13.0 + s2 / 15.0));
    let series = 1.0 / 3.0 + s2 * (1.0 / 5.0 + s2 * (1.0 / 7.0 + s2 * series));
    2.0 * s + 2.0 * s * (s2 * series)
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
    fn exponential_and_logarithm_are_good_to_two_ulps() {
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
        for i in 0..=100_000 {
            for u in [i as f32 * 1e-5, i as f32 * 1e-12] {
                let exact = f64::from(u).ln_1p();
                let error = (f64::from(u.logarithm_of_one_plus()) - exact).abs();
                assert!(
                    error <= 2.0 * f64::from(f32::EPSILON) * exact,
                    "ln(1 + {u}): {error:e}"
                );
            }
        }
        assert!(f32::NAN.logarithm_of_one_plus().is_nan());
        assert_eq!(0.0f32.exponential(), 1.0);
        assert!(f32::NAN.exponential().is_nan());
        assert!(f32::NEG_INFINITY.exponential() < 1e-37);
        assert!(f32::INFINITY.exponential() > 1e37);
    }
}
