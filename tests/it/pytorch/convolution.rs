//! Convolution, transposed convolution, pooling and upsampling over the geometries that `generate.py`
//! drew. Inputs follow its formula; only results are in the file. They are multiples of 1/128, so in
//! double precision every product and sum is exact, in whatever order: convolutions must agree to the
//! last bit.

use diabolo::emit::Parameters;
use diabolo::kernels::upsample::Enlargement;
use diabolo::kernels::{Activation, Window};
use diabolo::layers::{AvgPool2d, Conv2d, ConvTranspose2d, MaxPool2d, Upsample2d};
use diabolo::plan::PlanBuilder;

use super::harness::{Case, Family, Make, Reference, SINGLE, alone, check_layers};

fn formula(count: usize, salt: usize) -> Vec<f64> {
    let value = |i: usize| ((i * 7919 + salt * 104_729) % 257) as f64 / 128.0 - 1.0;
    (0..count).map(value).collect()
}

/// A layer forward and backward on `[rows, cols]` values of the formula, with every gradient.
fn check(
    family: &mut Family,
    reference: &Reference,
    prefix: String,
    shape: [usize; 2],
    make: &Make,
) {
    let x = formula(shape[0] * shape[1], 1);
    check_on(family, reference, prefix, (x, shape), make);
}

/// [`check`] on other values.
fn check_on(
    family: &mut Family,
    reference: &Reference,
    prefix: String,
    (x, shape): (Vec<f64>, [usize; 2]),
    make: &Make,
) {
    let y = reference.values(&format!("{prefix}.y"));
    let case = Case {
        reference,
        prefix,
        shape,
        x,
        dy: formula(y.len(), 4),
        initial: &|what, len| formula(len, if what == "weight" { 2 } else { 3 }),
    };
    check_layers(family, &case, make);
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
    let mut family = Family::new("layers: convolution", SINGLE);
    for (index, geometry) in geometries(&reference).iter().enumerate() {
        let &Geometry {
            images,
            channels,
            maps,
            window,
        } = geometry;
        let shape = [images * window.area(), channels];
        let prefix = format!("conv2d.{index}");
        let make = move |plan: &mut PlanBuilder, parameters: &mut Parameters| {
            let conv = Conv2d::new(plan, parameters, "layer", window, [channels, maps], 1.0);
            alone(conv.with_bias(plan, parameters, Activation::Identity))
        };
        check(&mut family, &reference, prefix, shape, &make);

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
        let make = move |plan: &mut PlanBuilder, parameters: &mut Parameters| {
            let conv = ConvTranspose2d::new(plan, parameters, "layer", up, [maps, channels], 1.0);
            alone(conv.with_bias(plan, parameters, Activation::Identity))
        };
        check(&mut family, &reference, prefix, shape, &make);
    }
    assert_eq!(family.worst("cpu f64"), 0.0, "128 layers in f64");
}

#[test]
fn pooling() {
    let reference = Reference::open("convolution.safetensors");
    let mut family = Family::new("layers: pooling", SINGLE);
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
        let prefix = format!("max_pool2d.{index}");
        check(&mut family, &reference, prefix, shape, &move |_, _| {
            let name = "pool".to_owned();
            alone(MaxPool2d { name, window })
        });
        let prefix = format!("avg_pool2d.{index}");
        check(&mut family, &reference, prefix, shape, &move |_, _| {
            let name = "pool".to_owned();
            alone(AvgPool2d { name, window })
        });
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
    let mut family = Family::new("layers: pooling, equal maxima", SINGLE);
    let (prefix, shape) = ("max_pool2d.ties".to_owned(), [2 * 7 * 6, 3]);
    check_on(&mut family, &reference, prefix, (x, shape), &move |_, _| {
        let name = "pool".to_owned();
        alone(MaxPool2d { name, window })
    });
}

#[test]
fn upsampling() {
    let reference = Reference::open("convolution.safetensors");
    let mut family = Family::new("layers: upsampling", SINGLE);
    for (index, (size, factor)) in [([3, 5], [2, 2]), ([4, 1], [1, 3])].into_iter().enumerate() {
        let enlargement = Enlargement { size, factor };
        let shape = [2 * size[0] * size[1], 3];
        let prefix = format!("upsample.{index}");
        check(&mut family, &reference, prefix, shape, &move |_, _| {
            let name = "upsample".to_owned();
            alone(Upsample2d { name, enlargement })
        });
    }
}
