//! Random numbers inside a step: Philox4x32-10, the same on every device.
//!
//! A counter-based generator is a bijection of (counter, key), not a stream with a state: the
//! noise of step 7, pixel 12 is a function of the seed, 7 and 12. Every thread draws its own,
//! and a resumed run draws what the uninterrupted one would have.
//!
//! ```text
//! word[0..4] = philox(counter = [element / 4, step, stream, 0], key = seed)
//! uniform: word ∈ [0, 2³²)
//! normals: Box–Muller on (word 0, word 1) and on (word 2, word 3)
//! ```
//!
//! Source: Salmon, Moraes, Dror, Shaw, “Parallel random numbers: as easy as 1, 2, 3” (SC 2011);
//! Box and Muller, “A note on the generation of random normal deviates” (1958).
//!
//! ln, sin and cos are short polynomials here and in `shaders/shared/random.wgsl`: WGSL promises only
//! eleven bits of `cos`, and the two devices should draw the same noise.

/// The streams of an image's noise: part of the counter, so that uses never share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Counter word of the Gaussian draws.
    pub gaussian: u32,
    /// Counter word of the masking draws.
    pub masking: u32,
    /// Counter word of the distortions.
    pub warp: u32,
}

impl Streams {
    /// Noise on training batches.
    pub const TRAINING: Streams = Streams {
        gaussian: 0,
        masking: 1,
        warp: 4,
    };
    /// Noise on held-out batches: the same at every epoch.
    pub const EVALUATION: Streams = Streams {
        gaussian: 2,
        masking: 3,
        warp: 5,
    };
}

/// The first stream that the noise of images does not use.
pub const FIRST_FREE_STREAM: u32 = 6;

/// Philox blocks computed side by side, one to a vector lane.
pub const LANES: usize = 16;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Ten rounds of Philox on [`LANES`] counters `[first + lane, step, stream, 0]`.
///
/// Result `[word][lane]`.
#[inline(always)]
pub fn philox(first: u32, step: u32, stream: u32, key: [u32; 2]) -> [[u32; LANES]; 4] {
    // In the lower halves of `u64`, as products come: taking them apart and putting them together again
    // would cost more than the multiplications. What is in the upper halves is of no account.
    let [mut c0, mut c1, mut c2, mut c3] = [
        [0; LANES],
        [step.into(); LANES],
        [stream.into(); LANES],
        [0; LANES],
    ];
    for (lane, word) in c0.iter_mut().enumerate() {
        *word = u64::from(first.wrapping_add(lane as u32));
    }
    let mut key = key;
    for _ in 0..ROUNDS {
        for lane in 0..LANES {
            let left = u64::from(c0[lane] as u32) * u64::from(MULTIPLIERS[0]);
            let right = u64::from(c2[lane] as u32) * u64::from(MULTIPLIERS[1]);
            c0[lane] = (right >> 32) ^ c1[lane] ^ u64::from(key[0]);
            c1[lane] = right;
            c2[lane] = (left >> 32) ^ c3[lane] ^ u64::from(key[1]);
            c3[lane] = left;
        }
        key = [
            key[0].wrapping_add(KEY_STEPS[0]),
            key[1].wrapping_add(KEY_STEPS[1]),
        ];
    }
    let mut words = [[0; LANES]; 4];
    for (word, half) in words.iter_mut().zip(&[c0, c1, c2, c3]) {
        for lane in 0..LANES {
            word[lane] = half[lane] as u32;
        }
    }
    words
}

/// Elements that [`words`] and [`normals`] draw at a time.
pub const BLOCK: usize = 4 * LANES;

/// A random word for each element from `first` on, a multiple of four.
#[inline(always)]
pub fn words(first: usize, step: u32, stream: u32, seed: u64) -> [u32; BLOCK] {
    let mut words = [0; BLOCK];
    interleave(
        &philox((first / 4) as u32, step, stream, key(seed)),
        &mut words,
    );
    words
}

/// A standard normal number for each element from `first` on, a multiple of four.
#[inline(always)]
pub fn normals(first: usize, step: u32, stream: u32, seed: u64) -> [f32; BLOCK] {
    let words = philox((first / 4) as u32, step, stream, key(seed));
    let mut of_words = [[0.0; LANES]; 4];
    for lane in 0..LANES {
        let [z0, z1] = normal_pair(words[0][lane], words[1][lane]);
        let [z2, z3] = normal_pair(words[2][lane], words[3][lane]);
        for (row, z) in of_words.iter_mut().zip([z0, z1, z2, z3]) {
            row[lane] = z;
        }
    }
    let mut normals = [0.0; BLOCK];
    interleave(&of_words, &mut normals);
    normals
}

/// A seed as the generator's key.
pub fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// Block by block what is there word by word.
#[inline(always)]
fn interleave<T: Copy>(words: &[[T; LANES]; 4], blocks: &mut [T; BLOCK]) {
    for (lane, block) in blocks.chunks_exact_mut(4).enumerate() {
        for (place, word) in block.iter_mut().zip(words) {
            *place = word[lane];
        }
    }
}

/// Two independent standard normals from two uniform words, in `f32` on every device.
#[inline(always)]
pub fn normal_pair(word0: u32, word1: u32) -> [f32; 2] {
    const TWO_POW_MINUS_24: f32 = 1.0 / 16_777_216.0;
    // (0, 1]: the logarithm is finite.
    let radius = ((word0 >> 8) + 1) as f32 * TWO_POW_MINUS_24;
    let turn = (word1 >> 8) as f32 * TWO_POW_MINUS_24;
    let radius = (-2.0 * ln(radius)).sqrt();
    let (sin, cos) = sin_cos_turn(turn);
    [radius * cos, radius * sin]
}

/// ln x for positive normal x: x = m·2ᵉ with m ∈ [√½, √2), and ln m = 2 artanh((m−1)/(m+1)).
#[inline(always)]
fn ln(x: f32) -> f32 {
    const SQRT_HALF_BITS: u32 = 0x3F35_04F3;
    let shifted = x.to_bits().wrapping_sub(SQRT_HALF_BITS);
    let exponent = (shifted as i32 >> 23) as f32;
    let mantissa = f32::from_bits((shifted & 0x007F_FFFF) + SQRT_HALF_BITS);
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let series = 1.0 + s2 * (1.0 / 3.0 + s2 * (1.0 / 5.0 + s2 * (1.0 / 7.0 + s2 * (1.0 / 9.0))));
    exponent * std::f32::consts::LN_2 + 2.0 * s * series
}

/// A whole number from 0 to 2³² − 1 as an integer. `as` would saturate, which takes a branch a lane.
#[inline(always)]
pub(super) fn whole(x: f32) -> u32 {
    // Where doubles are 1 apart, the last bits count.
    const TWO_POW_52: f64 = 4_503_599_627_370_496.0;
    (f64::from(x) + TWO_POW_52).to_bits() as u32
}

/// (sin 2πt, cos 2πt) for t ∈ [0, 1): the nearest quarter turn, then Taylor's series within ±π/4.
#[inline(always)]
pub(super) fn sin_cos_turn(turn: f32) -> (f32, f32) {
    let quarters = turn * 4.0;
    let nearest = (quarters + 0.5).floor();
    let angle = (quarters - nearest) * std::f32::consts::FRAC_PI_2;
    let a2 = angle * angle;
    let sin = angle
        * (1.0 - a2 * (1.0 / 6.0 - a2 * (1.0 / 120.0 - a2 * (1.0 / 5040.0 - a2 / 362_880.0))));
    let cos = 1.0 - a2 * (0.5 - a2 * (1.0 / 24.0 - a2 * (1.0 / 720.0 - a2 / 40_320.0)));
    let nearest = whole(nearest);
    let (s, c) = if nearest & 1 == 0 {
        (sin, cos)
    } else {
        (cos, sin)
    };
    (
        if nearest & 2 == 0 { s } else { -s },
        if (nearest + 1) & 2 == 0 { c } else { -c },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers_of_its_authors() {
        // Random123's kat_vectors has counter = key = 0 among its known answers.
        let words = philox(0, 0, 0, [0, 0]);
        let first = [words[0][0], words[1][0], words[2][0], words[3][0]];
        assert_eq!(first, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    }

    #[test]
    fn philox_lanes_count_up_from_the_first() {
        let ahead = philox(3, 5, 7, [11, 13]);
        let whole = philox(0, 5, 7, [11, 13]);
        for word in 0..4 {
            assert_eq!(ahead[word][..LANES - 3], whole[word][3..]);
        }
    }

    #[test]
    fn whole_numbers_become_integers() {
        for x in [0, 1, 2, 255, (1 << 23) - 1, (1 << 24) - 1, 1 << 24, 1 << 31] {
            assert_eq!(whole(x as f32), x);
        }
    }

    #[test]
    fn ln_and_sin_cos_are_good_to_a_few_ulps() {
        for i in 1..100_000u32 {
            let x = i as f32 / 100_000.0;
            let error = (f64::from(ln(x)) - f64::from(x).ln()).abs();
            assert!(
                error <= 2e-7 * f64::from(x).ln().abs().max(1.0),
                "ln {x}: {error}"
            );
            let (sin, cos) = sin_cos_turn(x);
            let (s, c) = (f64::from(x) * std::f64::consts::TAU).sin_cos();
            assert!((f64::from(sin) - s).abs() < 2e-7, "sin of {x} turns");
            assert!((f64::from(cos) - c).abs() < 2e-7, "cos of {x} turns");
        }
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        let (mut sums, mut count) = ([0.0f64; 4], 0.0);
        for block in 0..8192 {
            let [first, second, ..] = philox(block * LANES as u32, 1, 0, [42, 0]);
            for (word0, word1) in first.into_iter().zip(second) {
                for z in normal_pair(word0, word1) {
                    count += 1.0;
                    for (power, sum) in sums.iter_mut().enumerate() {
                        *sum += f64::from(z).powi(power as i32 + 1);
                    }
                }
            }
        }
        let moments = sums.map(|sum| sum / count);
        // Five standard errors of each moment over 262,144 draws: √(Var zᵖ / n).
        let five = 5.0 / f64::sqrt(count);
        assert!(moments[0].abs() < five);
        assert!((moments[1] - 1.0).abs() < five * 2f64.sqrt());
        assert!(moments[2].abs() < five * 15f64.sqrt());
        assert!((moments[3] - 3.0).abs() < five * 96f64.sqrt());
    }
}
