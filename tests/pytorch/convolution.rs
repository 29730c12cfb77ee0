//! Convolution, transposed convolution, pooling and upsampling over the geometries that `generate.py`
//! drew. Inputs follow its formula; only results are in the file. They are multiples of 1/128, so in
//! double precision every product and sum is exact, in whatever order: convolutions must agree to the
//! last bit.

use diabolo::device::Device;
use diabolo::kernels::upsample::Enlargement;
use diabolo::kernels::{Activation, Window};
use diabolo::layers::{
    AvgPool2d, Conv2d, ConvTranspose2d, Layer, MaxPool2d, Mode, Parameters, Upsample2d,
};
use diabolo::plan::{Element, PlanBuilder, View};

use crate::{Make, Reference, compare, on_every_device, read, write};

fn formula(count: usize, salt: usize) -> Vec<f64> {
    let value = |i: usize| ((i * 7919 + salt * 104_729) % 257) as f64 / 128.0 - 1.0;
    (0..count).map(value).collect()
}

/// A layer forward and backward on `[rows, cols]` values of the formula, with every gradient. Returns
/// the worst error of f64.
fn check(reference: &Reference, prefix: &str, [rows, cols]: [usize; 2], make: &Make) -> f64 {
    let x = formula(rows * cols, 1);
    check_on(reference, prefix, [rows, cols], &x, make)
}

/// [`check`] on other values.
fn check_on(
    reference: &Reference,
    prefix: &str,
    [rows, cols]: [usize; 2],
    values: &[f64],
    make: &Make,
) -> f64 {
    let mut plan = PlanBuilder::new();
    let mut parameters = Parameters::new(&mut plan);
    let layer = make(&mut plan, &mut parameters);
    let x = plan
        .persistent("x", Element::Real, rows * cols)
        .matrix(rows, cols);
    let expected = |what: &str| reference.values(&format!("{prefix}.{what}"));
    let dy = plan.persistent("dy", Element::Real, expected("y").len());
    let routine = plan.begin("both");
    let saved = layer.forward(&mut plan, x, Mode::Training);
    let dy_matrix = dy.matrix(saved.y.rows, saved.y.cols);
    let dx = layer.backward(&mut plan, &saved, dy_matrix, true);
    let dx = dx.expect("asked for").view;
    plan.keep(saved.y.view);
    plan.keep(dx);
    let worst = std::cell::Cell::new(0.0f64);
    on_every_device(
        plan.finish(u64::MAX).expect("fits"),
        |name, device, [tolerance, _]| {
            write(device, x.view, values);
            write(device, dy, &formula(dy.len, 4));
            for (tensor, salt) in parameters.tensors.iter().zip([2, 3]) {
                let values = tensor.layout.from_stored(&formula(tensor.value.len, salt));
                write(device, tensor.value, &values);
            }
            device.run(routine, 1).expect("runs");
            let verify = |device: &mut dyn Device, what: &str, view: View, values: Vec<f64>| {
                let what = format!("{prefix}: {what} on {name}");
                let error = compare(&what, &read(device, view), &values, tolerance);
                if name == "cpu f64" {
                    worst.set(worst.get().max(error));
                }
            };
            verify(device, "y", saved.y.view, expected("y"));
            verify(device, "dx", dx, expected("dx"));
            for (tensor, what) in parameters.tensors.iter().zip(["d_weight", "d_bias"]) {
                let gradient = View {
                    buffer: parameters.gradients,
                    ..tensor.value
                };
                let values = tensor.layout.from_stored(&expected(what));
                verify(device, what, gradient, values);
            }
        },
    );
    worst.get()
}

/// One row of the file's table.
struct Geometry {
    images: usize,
    channels: usize,
    maps: usize,
    window: Window,
}

fn geometries(reference: &Reference) -> Vec<Geometry> {
    let table = reference.values("geometries");
    let row = |row: &[f64]| {
        let at = |i: usize| row[i] as usize;
        let pair = |i: usize| [at(i), at(i + 1)];
        let window = Window {
            size: pair(3),
            kernel: pair(5),
            stride: pair(7),
            padding: pair(9),
            dilation: pair(11),
        };
        Geometry {
            images: at(0),
            channels: at(1),
            maps: at(2),
            window: window.checked().expect("legal"),
        }
    };
    table.chunks_exact(13).map(row).collect()
}

#[test]
fn convolution_and_transposed_convolution() {
    let reference = Reference::open("convolution.safetensors");
    let mut worst = 0.0f64;
    for (index, geometry) in geometries(&reference).iter().enumerate() {
        let &Geometry {
            images,
            channels,
            maps,
            window,
        } = geometry;
        let shape = [images * window.area(), channels];
        let prefix = format!("conv2d.{index}");
        let error = check(&reference, &prefix, shape, &move |plan, parameters| {
            let conv = Conv2d::new(plan, parameters, "conv", window, [channels, maps], 1.0);
            Box::new(conv.with_bias(plan, parameters, Activation::Identity))
        });
        worst = worst.max(error);

        // The window from its smaller side and the output padding, as a user of the layer has it.
        let output_padding = [0, 1].map(|i| {
            let span = window.dilation[i] * (window.kernel[i] - 1) + 1;
            (window.size[i] + 2 * window.padding[i] - span) % window.stride[i]
        });
        let up = window.transposed(window.map(), output_padding);
        let up = up.expect("legal");
        assert_eq!(up, window);
        let shape = [images * window.map_area(), maps];
        let prefix = format!("conv_transpose2d.{index}");
        let error = check(&reference, &prefix, shape, &move |plan, parameters| {
            let conv = ConvTranspose2d::new(plan, parameters, "conv", up, [maps, channels], 1.0);
            Box::new(conv.with_bias(plan, parameters, Activation::Identity))
        });
        worst = worst.max(error);
    }
    assert_eq!(worst, 0.0, "128 layers in f64");
}

#[test]
fn pooling() {
    let reference = Reference::open("convolution.safetensors");
    let mut checked = 0;
    for (index, geometry) in geometries(&reference).iter().enumerate() {
        let window = Window {
            dilation: [1; 2],
            ..geometry.window
        };
        let Ok(window) = window.checked_for_pooling() else {
            continue;
        };
        checked += 1;
        let shape = [geometry.images * window.area(), geometry.channels];
        check(
            &reference,
            &format!("max_pool2d.{index}"),
            shape,
            &move |_, _| {
                Box::new(MaxPool2d {
                    name: "pool".to_owned(),
                    window,
                })
            },
        );
        check(
            &reference,
            &format!("avg_pool2d.{index}"),
            shape,
            &move |_, _| {
                Box::new(AvgPool2d {
                    name: "pool".to_owned(),
                    window,
                })
            },
        );
    }
    assert!(checked >= 20, "{checked} poolings");
}

#[test]
fn of_equal_maxima_the_first_wins() {
    let reference = Reference::open("convolution.safetensors");
    let window = Window {
        size: [7, 6],
        kernel: [3; 2],
        stride: [2; 2],
        padding: [1; 2],
        dilation: [1; 2],
    };
    let x: Vec<f64> = formula(2 * 7 * 6 * 3, 1)
        .into_iter()
        .map(f64::round_ties_even)
        .collect();
    let pool = |_: &mut PlanBuilder, _: &mut Parameters| -> Box<dyn Layer> {
        let name = "pool".to_owned();
        Box::new(MaxPool2d { name, window })
    };
    check_on(&reference, "max_pool2d.ties", [2 * 7 * 6, 3], &x, &pool);
}

#[test]
fn upsampling() {
    let reference = Reference::open("convolution.safetensors");
    for (index, (size, factor)) in [([3, 5], [2, 2]), ([4, 1], [1, 3])].into_iter().enumerate() {
        let enlargement = Enlargement { size, factor };
        let shape = [2 * size[0] * size[1], 3];
        check(
            &reference,
            &format!("upsample.{index}"),
            shape,
            &move |_, _| {
                let name = "upsample".to_owned();
                Box::new(Upsample2d { name, enlargement })
            },
        );
    }
}
