// Random numbers inside a step: Philox4x32-10 and standard normals, those of src/kernels/random.rs
// word for word, so that both devices draw the same. A shader that draws is this file followed by
// its own.

// The 64-bit product of two words as (high, low): WGSL multiplies 32 bits, so by halves.
fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let first = a1 * b0 + ((a0 * b0) >> 16u);
    let second = a0 * b1 + (first & 0xffffu);
    return vec2(a1 * b1 + (first >> 16u) + (second >> 16u), a * b);
}

// Ten rounds of Philox4x32.
fn philox(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var key = seed;
    for (var round = 0u; round < 10u; round++) {
        let left = multiply_wide(c.x, 0xD2511F53u);
        let right = multiply_wide(c.z, 0xCD9E8D57u);
        c = vec4(right.x ^ c.y ^ key.x, right.y, left.x ^ c.w ^ key.y, left.y);
        key += vec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// ln x for positive normal x.
fn natural_log(x: f32) -> f32 {
    let shifted = bitcast<u32>(x) - 0x3F3504F3u;
    let exponent = f32(bitcast<i32>(shifted) >> 23u);
    let mantissa = bitcast<f32>((shifted & 0x007FFFFFu) + 0x3F3504F3u);
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let series = 1.0 + s2 * (1.0 / 3.0 + s2 * (1.0 / 5.0 + s2 * (1.0 / 7.0 + s2 * (1.0 / 9.0))));
    return exponent * 0.6931471805599453 + 2.0 * s * series;
}

// (cos 2πt, sin 2πt) for t in [0, 1).
fn cos_sin_turn(turn: f32) -> vec2<f32> {
    let quarters = turn * 4.0;
    let nearest = i32(quarters + 0.5);
    let angle = (quarters - f32(nearest)) * 1.5707963267948966;
    let a2 = angle * angle;
    let sin = angle
        * (1.0 - a2 * (1.0 / 6.0 - a2 * (1.0 / 120.0 - a2 * (1.0 / 5040.0 - a2 / 362880.0))));
    let cos = 1.0 - a2 * (0.5 - a2 * (1.0 / 24.0 - a2 * (1.0 / 720.0 - a2 / 40320.0)));
    let even = (nearest & 1) == 0;
    let s = select(cos, sin, even);
    let c = select(sin, cos, even);
    return vec2(select(-c, c, ((nearest + 1) & 2) == 0), select(-s, s, (nearest & 2) == 0));
}

// Box–Muller: two independent standard normals from two uniform words.
fn normal_pair(word0: u32, word1: u32) -> vec2<f32> {
    let uniform0 = f32((word0 >> 8u) + 1u) * (1.0 / 16777216.0);
    let turn = f32(word1 >> 8u) * (1.0 / 16777216.0);
    return sqrt(-2.0 * natural_log(uniform0)) * cos_sin_turn(turn);
}

