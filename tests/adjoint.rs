//! ⟨A x, y⟩ = ⟨x, Aᵀ y⟩: transposed convolution is the adjoint of convolution, and each pooling's and
//! upsampling's backward is the adjoint of its forward.

#[path = "common/geometry.rs"]
mod geometry;

use std::sync::Arc;

use diabolo::device::cpu::Cpu;
use diabolo::device::{Device, HostData};
use diabolo::kernels::Activation;
use diabolo::kernels::convolution::{Convolve, DataGradient};
use diabolo::kernels::pool::{AveragePool, AveragePoolBackward};
use diabolo::plan::{Element, Matrix, PlanBuilder};
use geometry::geometries;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Emits A: x → y and Aᵀ: y′ → x′ and compares the two inner products on random vectors.
fn check(
    name: &str,
    [x, y]: [[usize; 2]; 2],
    weight: usize,
    emit: impl Fn(&mut PlanBuilder, [Matrix; 5]),
) {
    let mut plan = PlanBuilder::new();
    let mut matrix = |name: &str, [rows, cols]: [usize; 2]| {
        plan.persistent(name, Element::Real, rows * cols)
            .matrix(rows, cols)
    };
    let all = [
        matrix("x", x),
        matrix("A x", y),
        matrix("y", y),
        matrix("Aᵀ y", x),
        matrix("weight", [weight, 1]),
    ];
    let routine = plan.begin("both");
    emit(&mut plan, all);
    let plan = Arc::new(plan.finish(u64::MAX).expect("fits"));
    let mut device = Cpu::<f64>::new(plan, Cpu::<f64>::pool(2).expect("threads"));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for index in [0, 2, 4] {
        let view = all[index].view;
        let values: Vec<f64> = (0..view.len).map(|_| rng.random_range(-1.0..1.0)).collect();
        device.write(view, HostData::Double(&values)).expect("fits");
    }
    device.run(routine, 1).expect("runs");
    let product = |a: Matrix, b: Matrix| -> f64 {
        let pairs = device.reals(a.view).iter().zip(device.reals(b.view));
        pairs.map(|(a, b)| a * b).sum()
    };
    let (forward, backward) = (product(all[1], all[2]), product(all[0], all[3]));
    // Relative to the sizes of the vectors: the products themselves may cancel to nothing.
    let size = (product(all[1], all[1]) * product(all[2], all[2]))
        .sqrt()
        .max(1e-300);
    let error = (forward - backward).abs() / size;
    println!("{name:<60} {error:.1e}");
    assert!(error <= 1e-12, "{name}: {forward} against {backward}");
}

#[test]
fn transposed_convolution_is_the_adjoint_of_convolution() {
    for geometry in geometries(64) {
        let (window, channels, maps) = (geometry.window, geometry.channels, geometry.maps);
        let [large, small] = geometry.rows();
        let depth = window.taps() * channels;
        check(
            &format!("conv2d {:?} by {:?}", window.size, window.kernel),
            [[large, channels], [small, maps]],
            depth * maps,
            |plan, [x, ax, y, aty, weight]| {
                let weight = weight.view.matrix(depth, maps);
                let (bias, activation) = (None, Activation::Identity);
                let forward = Convolve {
                    window,
                    x,
                    weight,
                    bias,
                    activation,
                    y: ax,
                };
                plan.launch("A", forward);
                let backward = DataGradient {
                    window,
                    dy: y,
                    weight,
                    bias,
                    activation,
                    dx: aty,
                };
                plan.launch("Aᵀ", backward);
            },
        );
    }
}

#[test]
fn average_pooling_s_backward_is_its_adjoint() {
    for geometry in geometries(64) {
        let Ok(window) = geometry.window.checked_for_pooling() else {
            continue;
        };
        let [large, small] = geometry.rows().map(|rows| [rows, geometry.channels]);
        check(
            "average pool",
            [large, small],
            1,
            |plan, [x, ax, y, aty, _]| {
                plan.launch("A", AveragePool { window, x, y: ax });
                let (dy, dx) = (y, aty);
                plan.launch("Aᵀ", AveragePoolBackward { window, dy, dx });
            },
        );
    }
}
