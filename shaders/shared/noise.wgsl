// The noise of a batch, for the four elements that share a Philox block. `dims` holds its amounts, its key
// and its streams. See src/kernels/gather.rs.

const GAUSSIAN: bool = true;
const MASKING: bool = true;

// σ·n
fn gaussian_noise(block: u32, step: u32) -> vec4<f32> {
    if !GAUSSIAN {
        return vec4(0.0);
    }
    let words = philox(vec4(block, step, dims.gaussian_stream, 0u), dims.key);
    return dims.sigma * vec4(normal_pair(words.x, words.y), normal_pair(words.z, words.w));
}

// Which of them are not masked.
fn kept(block: u32, step: u32) -> vec4<bool> {
    if !MASKING {
        return vec4(true);
    }
    return philox(vec4(block, step, dims.masking_stream, 0u), dims.key) >= vec4(dims.mask_below);
}

