//! Every shader is valid WGSL, as it stands and in every variant a plan asks for, and declares the
//! bindings that its room means. Two compilers must accept it: naga, which wgpu runs it through, and
//! tint, which a browser may.

mod tint;
mod variants;

use std::collections::HashMap;

use diabolo::device::gpu::lower::specialise;
use diabolo::image::ImageShape;
use diabolo::kernels::loss::Loss;
use diabolo::kernels::{SHADERS, naive_products};
use diabolo::recipe::{BUILT_IN, Recipe};
use diabolo::train::{DataShape, Program};
use naga::{AddressSpace, StorageAccess, TypeInner};

use variants::texts;

fn validate(name: &str, source: &str) -> naga::Module {
    let module = naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
    let flags = naga::valid::ValidationFlags::all();
    // The one shader that not every adapter can run.
    let capabilities = match name {
        "gemm_ladder/subgroup" => naga::valid::Capabilities::SUBGROUP,
        _ => naga::valid::Capabilities::empty(),
    };
    let mut validator = naga::valid::Validator::new(flags, capabilities);
    if let Err(error) = validator.validate(&module) {
        panic!("{name}: {}", error.emit_to_string(source));
    }
    module
}

#[test]
fn every_shader_is_valid_as_it_stands_and_in_every_variant() {
    for (name, source) in SHADERS {
        validate(name, source);
    }
    let texts = texts();
    for text in &texts {
        validate(&format!("{}{}", text.shader, text.variant), &text.source);
    }
    println!("{} shaders, {} variants", SHADERS.len(), texts.len());
    let tiled = SHADERS
        .iter()
        .filter(|(_, source)| naive_products(source) != *source);
    assert_eq!(tiled.count(), 4, "the GEMM and the three convolutions");
    assert!(texts.len() > SHADERS.len());
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
fn every_shader_says_in_its_header_how_it_is_dispatched() {
    for (name, _) in SHADERS {
        let file = format!("{}/shaders/{name}.wgsl", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(file).expect("a file for each kernel");
        let header = text.lines().take_while(|line| line.starts_with("//"));
        let header: String = header.collect();
        assert!(header.to_lowercase().contains("dispatch"), "{name}");
    }
}

#[test]
fn names_are_unique() {
    let names: HashMap<_, _> = SHADERS.iter().copied().collect();
    assert_eq!(names.len(), SHADERS.len());
}

/// An adapter's driver would refuse a wrong binding too; this says it where there is none.
#[test]
fn every_launch_of_training_finds_the_bindings_it_means() {
    let data = DataShape {
        train: 1000,
        held_out: 77,
        image: ImageShape {
            height: 28,
            width: 28,
            channels: 1,
        },
        classes: 10,
    };
    for (recipe, _) in BUILT_IN {
        for loss in [Loss::MeanSquaredError, Loss::BinaryCrossEntropy] {
            let mut recipe = Recipe::load(recipe).expect("built in");
            if let Some(model) = recipe.model.autoencoder_mut() {
                model.loss = loss;
            }
            let plan = Program::new(&recipe, data, u64::MAX).expect("fits").plan;
            let launches = plan.routines.iter().flat_map(|routine| &routine.launches);
            let steps = launches.flat_map(|launch| {
                let steps = launch.kernel.steps(plan.scratch());
                steps.into_iter().map(move |step| (launch, step))
            });
            for (launch, step) in steps {
                let (dispatch, operands) = (step.dispatch, step.operands);
                let source = specialise(step.shader, &dispatch.constants);
                let module = validate(step.name, &source);
                let mut declared = HashMap::new();
                for (_, variable) in module.global_variables.iter() {
                    if let Some(binding) = &variable.binding {
                        declared.insert(binding.binding as usize, variable);
                    }
                }
                let what = format!("{}: {}", launch.label, step.name);

                let words = declared.remove(&0).map_or(0, |dims| {
                    assert_eq!(dims.space, AddressSpace::Uniform, "{what}");
                    match module.types[dims.ty].inner {
                        TypeInner::Struct { span, .. } => span as usize / 4,
                        ref other => panic!("{what}: dims is {other:?}"),
                    }
                });
                assert_eq!(words, dispatch.dims.len(), "{what}: words of dims");

                assert_eq!(declared.len(), operands.len(), "{what}: operands");
                for (index, operand) in operands.iter().enumerate() {
                    let writable = match declared[&(index + 1)].space {
                        AddressSpace::Storage { access } => access.contains(StorageAccess::STORE),
                        other => panic!("{what}: {} lies in {other:?}", operand.name),
                    };
                    assert_eq!(writable, operand.is_written(), "{what}: {}", operand.name);
                }
            }
        }
    }
}
