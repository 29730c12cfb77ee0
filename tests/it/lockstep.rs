//! Lockstep names the launch that is wrong, and finds nothing where nothing is.

use std::borrow::Cow;

use crate::common::adapter::gpu;
use crate::common::{digits, examples_for, small, small_conv};
use diabolo::data::Examples;
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::GpuOptions;
use diabolo::lockstep::{Participant, Report, run};
use diabolo::models::Pool;
use diabolo::recipe::{BUILT_IN, Recipe};
use diabolo::train::Trainer;

fn double() -> Backend {
    Backend::CpuDouble(Cpu::<f64>::team(2).expect("threads"))
}

fn single() -> Backend {
    Backend::Cpu(Cpu::<f32>::team(2).expect("threads"))
}

fn gpu_with(options: GpuOptions) -> Option<Backend> {
    gpu(options).map(Backend::Gpu)
}

/// Steps of a recipe on two devices, on digits.
fn lockstep(recipe: &Recipe, devices: [(&str, Backend); 2], steps: usize) -> Report {
    let data = digits();
    lockstep_on(recipe, [data.training(), data.held_out()], devices, steps)
}

/// The same on any images: those to train on, those held out.
fn lockstep_on(
    recipe: &Recipe,
    [train, held_out]: [Examples; 2],
    devices: [(&str, Backend); 2],
    steps: usize,
) -> Report {
    let trainer = |backend: &Backend| {
        let (train, held_out) = (train.clone(), held_out.clone());
        Trainer::new(recipe, train, held_out, backend, None).expect("fits")
    };
    let participants = devices.map(|(name, backend)| Participant {
        name: name.to_owned(),
        trainer: trainer(&backend),
        judged: !matches!(backend, Backend::CpuDouble(_)),
    });
    run(participants, trainer(&double()), steps, |_| ()).expect("runs")
}

/// A convolutional model with the other pooling.
fn average_pooled() -> Recipe {
    let mut recipe = small_conv();
    recipe.model.autoencoder_mut().expect("one").convolutions[0].pool = Some(Pool::Average);
    recipe
}

#[test]
fn every_launch_is_right_on_the_cpu_and_on_a_gpu() {
    for recipe in [small(), small_conv(), average_pooled()] {
        let other =
            gpu_with(GpuOptions::default()).map_or(("cpu-f64", double()), |gpu| ("gpu", gpu));
        let report = lockstep(&recipe, [("cpu-f32", single()), other], 3);
        assert!(report.divergence.is_none(), "{:?}", report.divergence);
        assert_eq!(report.steps.len(), 3);
        let errors = || report.launches.iter().flat_map(|launch| launch.error);
        // The tolerances are neither tight nor idle: rounding uses a part of them.
        let largest = errors().fold(0.0, f64::max);
        assert!((1e-3..0.7).contains(&largest), "{largest}");
        println!("{}: at most {largest:.2} of what is allowed", recipe.name);
    }
}

#[test]
fn every_built_in_recipe_is_right_on_the_cpu_and_on_a_gpu() {
    let digits = digits();
    for (name, _) in BUILT_IN {
        let mut recipe = Recipe::load(name).expect("built in");
        recipe.train.batch = 8;
        let examples = examples_for(&recipe, &digits);
        let other =
            gpu_with(GpuOptions::default()).map_or(("cpu-f64", double()), |gpu| ("gpu", gpu));
        let devices = [("cpu-f32", single()), other];
        let report = lockstep_on(&recipe, [examples.clone(), examples], devices, 1);
        assert!(
            report.divergence.is_none(),
            "{name}: {:?}",
            report.divergence
        );
        let gather = &report.launches[0];
        println!("{name}: gather at {:.2?} of what is allowed", gather.error);
    }
}

#[test]
fn products_by_the_library_are_right_for_the_same_bits_on_any_number_of_threads() {
    for recipe in [small(), small_conv()] {
        let library =
            |threads| Backend::CpuMatrixmultiply(Cpu::<f32>::team(threads).expect("threads"));
        let devices = [("cpu-f32", single()), ("cpu-matrixmultiply", library(2))];
        let report = lockstep(&recipe, devices, 3);
        assert!(report.divergence.is_none(), "{:?}", report.divergence);
        assert!(
            report.launches.iter().any(|launch| launch.apart > 0.0),
            "another order of sums shows somewhere"
        );
        let threads = [("1 thread", library(1)), ("3 threads", library(3))];
        let report = lockstep(&recipe, threads, 3);
        assert!(report.launches.iter().all(|launch| launch.apart == 0.0));
    }
}

#[test]
fn distortions_of_any_seed_are_right_on_a_gpu() {
    for seed in 0..20 {
        let mut recipe = small_conv();
        recipe.train.seed = seed;
        recipe.noise = Recipe::load("mnist-conv").expect("built in").noise;
        let Some(gpu) = gpu_with(GpuOptions::default()) else {
            return;
        };
        let report = lockstep(&recipe, [("cpu-f32", single()), ("gpu", gpu)], 1);
        assert!(
            report.divergence.is_none(),
            "seed {seed}: {:?}",
            report.divergence
        );
    }
}

#[test]
fn a_device_in_lockstep_with_itself_is_never_apart() {
    let report = lockstep(&small_conv(), [("one", single()), ("other", single())], 2);
    assert!(report.launches.iter().all(|launch| launch.apart == 0.0));
    assert!(report.steps.iter().all(|step| step.loss[0] == step.loss[1]));
    let Some(unchecked) = gpu_with(GpuOptions::default()) else {
        return;
    };
    let checked = gpu_with(GpuOptions {
        checked: true,
        ..GpuOptions::default()
    });
    let checked = checked.expect("as the other");
    let devices = [("gpu", unchecked), ("gpu-checked", checked)];
    let report = lockstep(&small_conv(), devices, 2);
    assert!(report.launches.iter().all(|launch| launch.apart == 0.0));
}

#[test]
fn products_by_tiles_and_by_plain_loops_are_both_right() {
    let (Some(tiles), Some(loops)) = (
        gpu_with(GpuOptions::default()),
        gpu_with(GpuOptions::naive()),
    ) else {
        return;
    };
    let report = lockstep(&small_conv(), [("gpu-naive", loops), ("gpu", tiles)], 2);
    assert!(report.divergence.is_none(), "{:?}", report.divergence);
}

/// A fault: the kernel whose shader has it, what stands there, and what is put in its place.
type Fault = (&'static str, &'static str, &'static str);

/// Shaders with the fault of this number.
fn faulty<const N: usize>() -> GpuOptions {
    GpuOptions {
        rewrite: |name, shader| {
            let (kernel, from, to) = FAULTS[N];
            if name != kernel {
                return Cow::Borrowed(shader);
            }
            assert!(shader.contains(from), "{kernel} has no `{from}`");
            Cow::Owned(shader.replace(from, to))
        },
        ..GpuOptions::default()
    }
}

const FAULTS: [Fault; 14] = [
    // A place is off by a thousandth of a pixel, an angle by 2·10⁻⁵ of a turn, a size by 10⁻⁴.
    ("gather", "shift + centre;", "shift + centre + 1e-3;"),
    ("gather", "turn + 1.0, turn <", "turn + 1.00002, turn <"),
    ("gather", "let scale = 1.0 +", "let scale = 1.0001 +"),
    (
        "gather",
        "select(1.0 - part, part,",
        "select(part, 1.0 - part,",
    ),
    ("gemm", "value += bias[col];", "value -= bias[col];"),
    ("conv2d", "tap % dims.kernel.y", "tap / dims.kernel.y"),
    ("conv2d_data_gradient", "weight[line", "weight[1u + line"),
    (
        "batch_norm_statistics",
        "+ dims.epsilon",
        "+ 100.0 * dims.epsilon",
    ),
    ("batch_norm_backward_apply", "d_beta[", "0.0 * d_beta["),
    ("activation_backward", "slope(saved[i])", "1.0"),
    ("max_pool", "value > largest", "value < largest"),
    (
        "loss_gradient",
        "/ dims.divisor",
        "/ f32(dims.elements + 1u)",
    ),
    ("adam", "* scale +", "+"),
    // Moves a weight by a thousandth of a step, far less than what rounds away in a γ of 1.
    ("adam", "* keep - rate", "* keep - 1.001 * rate"),
];

#[test]
fn a_fault_in_a_shader_is_named() {
    let options = [
        faulty::<0>(),
        faulty::<1>(),
        faulty::<2>(),
        faulty::<3>(),
        faulty::<4>(),
        faulty::<5>(),
        faulty::<6>(),
        faulty::<7>(),
        faulty::<8>(),
        faulty::<9>(),
        faulty::<10>(),
        faulty::<11>(),
        faulty::<12>(),
        faulty::<13>(),
    ];
    for ((kernel, from, to), options) in FAULTS.into_iter().zip(options) {
        let Some(gpu) = gpu_with(options) else { return };
        let recipe = match kernel {
            "gemm" | "activation_backward" => small(), // which ends in a dense layer with a sigmoid
            "gather" => Recipe::load("mnist-conv").expect("built in"),
            _ => small_conv(),
        };
        let report = lockstep(&recipe, [("cpu-f32", single()), ("broken", gpu)], 2);
        let found = report.divergence;
        let found = found.unwrap_or_else(|| panic!("{kernel}: `{from}` → `{to}` was not found"));
        println!(
            "{kernel}: `{from}` → `{to}`: {}, {}, off by {:.1} times what is allowed",
            found.launch,
            found.operand,
            (found.got - found.expected).abs() / found.tolerance
        );
        assert_eq!((found.kernel, found.device.as_str()), (kernel, "broken"));
        assert!((found.got - found.expected).abs() > found.tolerance);
    }
}
