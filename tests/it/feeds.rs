//! Where the rows of a step come from: images or rows of reals, with labels or without, several feeds a
//! step.

use crate::common::adapter;
use std::sync::Arc;

use diabolo::buffer::Element;
use diabolo::device::cpu::Cpu;
use diabolo::device::gpu::{Gpu, GpuOptions};
use diabolo::device::{Device, HostData};
use diabolo::emit::{Emission, Mode};
use diabolo::image::ImageShape;
use diabolo::kernels::clock::Advance;
use diabolo::kernels::gather::Noise;
use diabolo::kernels::random::Streams;
use diabolo::kernels::warp::Warp;
use diabolo::models::Batch;
use diabolo::plan::{Pass, PlanBuilder};
use diabolo::train::{Feed, Source};

const IMAGE: ImageShape = ImageShape {
    height: 2,
    width: 2,
    channels: 1,
};
const NOISE: Noise = Noise {
    warp: Warp {
        shift: 0.0,
        rotation: 0.0,
        scale: 0.0,
        shear: 0.0,
    },
    gaussian: 0.0,
    masking: 0.0,
    seed: 0,
    streams: Streams::TRAINING,
};

#[test]
fn a_step_takes_from_two_feeds_each_in_its_own_order() {
    let mut emission = Emission::new(PlanBuilder::new(), 0);
    let plan = &mut emission.plan;
    let mut indices = |name: &str, len| plan.persistent(name, Element::Index, len);
    let clock = indices("clock", 2);
    // Two steps of three images with labels, and of two rows without.
    let orders = [indices("order of images", 6), indices("order of rows", 4)];
    let labels = indices("labels", 4);
    let images = plan.persistent("images", Element::Byte, 4 * IMAGE.features());
    let rows = plan.persistent("rows", Element::Real, 3 * 5);
    let pictures = Feed {
        source: Source::Images(images, IMAGE),
        labels: Some(labels),
        order: orders[0],
        noise: NOISE,
    };
    let features = Feed {
        source: Source::Rows(rows.matrix(3, 5)),
        labels: None,
        order: orders[1],
        noise: NOISE,
    };
    let mut e = emission.begin_step("step", Mode::Training, clock, 2);
    let batches = [
        pictures.batch(&mut e, "pictures", 3),
        features.batch(&mut e, "features", 2),
    ];
    for Batch {
        clean,
        noisy,
        labels,
    } in batches
    {
        [Some(clean.view), Some(noisy.view), labels]
            .into_iter()
            .flatten()
            .for_each(|view| e.keep(view));
    }
    e.at("clock", Pass::Update).launch("", Advance { clock });
    let routine = e.end().routine;
    let plan = Arc::new(emission.plan.finish(u64::MAX).expect("fits"));

    let team = Cpu::<f32>::team(2).expect("threads");
    let mut devices: Vec<Box<dyn Device>> = vec![Box::new(Cpu::<f32>::new(plan.clone(), team))];
    if let Some(context) = adapter::gpu(GpuOptions::default()) {
        devices.push(Box::new(Gpu::new(context, plan).expect("loads")));
    }
    let pixels: Vec<u8> = (0..16).collect();
    let values: Vec<f32> = (0..15).map(|i| i as f32).collect();
    for mut device in devices {
        let mut write = |view, data| device.write(view, data).expect("fits");
        write(clock, HostData::Index(&[0, 0]));
        write(orders[0], HostData::Index(&[3, 0, 1, 2, 2, 0]));
        write(orders[1], HostData::Index(&[2, 1, 0, 2]));
        write(labels, HostData::Index(&[10, 11, 12, u32::MAX]));
        write(images, HostData::Byte(&pixels));
        write(rows, HostData::Real(&values));
        for (pictures, features) in [([3, 0, 1], [2, 1]), ([2, 2, 0], [0, 2])] {
            device.run(routine, 1).expect("runs");
            let mut real = |view| device.read_real(view).expect("readable");
            let bytes = pictures.iter().flat_map(|&i| &pixels[4 * i..][..4]);
            let scaled: Vec<f32> = bytes.map(|&byte| f32::from(byte) / 255.0).collect();
            let got = real(batches[0].clean.view);
            assert!(got.iter().zip(&scaled).all(|(a, b)| (a - b).abs() < 1e-6));
            assert_eq!(real(batches[0].noisy.view), got);
            let taken = features.iter().flat_map(|&i| &values[5 * i..][..5]);
            let taken: Vec<f32> = taken.copied().collect();
            assert_eq!(real(batches[1].clean.view), taken);
            assert_eq!(real(batches[1].noisy.view), taken);
            let view = batches[0].labels.expect("it has labels");
            let expected = pictures.map(|i| [10, 11, 12, u32::MAX][i]);
            assert_eq!(device.read_index(view).expect("readable"), expected);
        }
    }
}
