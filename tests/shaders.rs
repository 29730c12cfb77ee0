//! Every shader is valid WGSL, as it stands and in every variant a plan asks for.

use std::collections::HashMap;

use diabolo::device::gpu::specialise;
use diabolo::kernels::SHADERS;

/// Values that each constant takes in some launch.
fn variants(name: &str) -> &'static [&'static str] {
    match name {
        "GAUSSIAN" | "MASKING" | "TRANSPOSE_A" | "TRANSPOSE_B" | "BIAS" => &["false", "true"],
        "ACTIVATION" => &["0u", "1u", "2u"],
        "LOSS" => &["0u", "1u"],
        _ => &[],
    }
}

fn validate(name: &str, source: &str) -> naga::Module {
    let module = naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
    let flags = naga::valid::ValidationFlags::all();
    let mut validator = naga::valid::Validator::new(flags, naga::valid::Capabilities::empty());
    if let Err(error) = validator.validate(&module) {
        panic!("{name}: {}", error.emit_to_string(source));
    }
    module
}

#[test]
fn every_shader_is_valid_as_it_stands_and_in_every_variant() {
    let mut validated = 0;
    for (name, source) in SHADERS {
        validate(name, source);
        let mut texts = vec![(*source).to_owned()];
        for line in source.lines() {
            let Some(constant) = line
                .strip_prefix("const ")
                .and_then(|l| l.split(':').next())
            else {
                continue;
            };
            let values = variants(constant);
            if !values.is_empty() {
                let all = texts.iter().flat_map(|text| {
                    let set = |value: &&str| specialise(text, &[(constant, (*value).to_owned())]);
                    values.iter().map(set)
                });
                texts = all.collect();
            }
        }
        for text in &texts {
            validate(name, text);
            validated += 1;
        }
    }
    println!("{} shaders, {validated} variants", SHADERS.len());
    assert!(validated > SHADERS.len());
}

#[test]
fn bindings_are_counted_from_the_dimensions_without_a_gap() {
    for (name, source) in SHADERS {
        let module = validate(name, source);
        let mut bindings: Vec<u32> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| variable.binding.map(|binding| binding.binding))
            .collect();
        bindings.sort_unstable();
        let first = bindings[0];
        assert!(
            first <= 1,
            "{name}: binding 0 is the dimensions, 1 the first operand"
        );
        let expected: Vec<u32> = (first..first + bindings.len() as u32).collect();
        assert_eq!(bindings, expected, "{name}");
    }
}

#[test]
fn names_are_unique() {
    let names: HashMap<_, _> = SHADERS.iter().copied().collect();
    assert_eq!(names.len(), SHADERS.len());
}
