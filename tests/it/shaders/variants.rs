//! Every text that a compiler of shaders may be handed.

use diabolo::device::gpu::lower::specialise;
use diabolo::kernels::{Activation, SHADERS, naive_products};

/// A shader with its constants set.
pub struct Text {
    /// The kernel's name.
    pub shader: &'static str,
    /// What sets it apart from the kernel's other texts.
    pub variant: String,
    pub source: String,
}

/// Values that each constant takes in some launch; the default is one of them.
fn values(constant: &str) -> Vec<String> {
    let values: &[&str] = match constant {
        "ACTIVATION" => return Activation::ALL.map(Activation::code).to_vec(),
        "GAUSSIAN" | "MASKING" | "WARP" | "TRANSPOSE_A" | "TRANSPOSE_B" | "BIAS" | "COSINE"
        | "NESTEROV" => &["false", "true"],
        "TILE" => &["32u", "64u"],
        "LOSS" => &["0u", "1u"],
        _ => &[],
    };
    values.iter().map(|&value| value.to_owned()).collect()
}

/// Every shader in every variant.
pub fn texts() -> Vec<Text> {
    let shaders = SHADERS.iter();
    shaders
        .flat_map(|(name, source)| of(name, source))
        .collect()
}

/// A shader in every variant, with its product by tiles and by plain loops.
fn of(shader: &'static str, source: &str) -> Vec<Text> {
    let text = |variant: &str, source: String| Text {
        shader,
        variant: variant.to_owned(),
        source,
    };
    let mut texts = vec![text("", source.to_owned())];
    let naive = naive_products(source);
    if naive != source {
        texts.push(text(" plain loops", naive));
    }
    for line in source.lines() {
        let Some((constant, _)) = line
            .strip_prefix("const ")
            .and_then(|line| line.split_once(':'))
        else {
            continue;
        };
        let values = values(constant);
        if !values.is_empty() {
            let all = texts.iter().flat_map(|text| {
                values.iter().map(move |value| Text {
                    shader,
                    variant: format!("{} {constant}={value}", text.variant),
                    source: specialise(&text.source, &[(constant, value.clone())]),
                })
            });
            texts = all.collect();
        }
    }
    texts
}
