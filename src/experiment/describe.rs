//! What an experiment says before it begins: what it found, and what a step amounts to.

use crate::data::{Dataset, Images, Pixels};
use crate::train::Trainer;

/// Classes that are counted one by one; of more, only their number is said.
const COUNTED: usize = 20;
/// Images whose pixels are looked at for their range.
const LOOKED_AT: usize = 1000;

/// One line for the images, one for their classes.
pub(super) fn describe_data(data: &Dataset) -> Vec<String> {
    let Dataset { train, test, .. } = data;
    let mut lines = vec![format!(
        "data: {}, {} training and {} test images of {}, pixels {}",
        data.name,
        train.count,
        test.count,
        train.shape(),
        range(train)
    )];
    lines.push(match data.classes {
        0 => "classes: none, the images have no labels".to_owned(),
        classes if classes > COUNTED => format!("classes: {classes}"),
        classes => {
            let counts = (0..classes).map(|class| {
                let of_class = data.train_labels.iter();
                let count = of_class
                    .filter(|&&label| usize::from(label) == class)
                    .count();
                format!("{} ×{count}", data.class_name(class))
            });
            let counts: Vec<String> = counts.collect();
            format!("classes: {}", counts.join(", "))
        }
    });
    lines
}

/// The least and the largest pixel, in the units that they came in.
fn range(images: &Images) -> String {
    let values = images.count.min(LOOKED_AT) * images.features();
    match &images.pixels {
        Pixels::Bytes(bytes) => {
            let bytes = &bytes[..values];
            let (least, most) = (bytes.iter().min(), bytes.iter().max());
            format!("{} to {} of 255", least.unwrap_or(&0), most.unwrap_or(&0))
        }
        Pixels::Real(reals) => {
            let reals = reals[..values].iter();
            let (least, most) = reals
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), &x| {
                    (least.min(x), most.max(x))
                });
            format!("{least} to {most} of 1")
        }
        Pixels::OnDisk(_) => "bytes in a file".to_owned(),
    }
}

/// One line on what a training step amounts to.
pub(super) fn describe_plan(trainer: &Trainer) -> String {
    let program = trainer.program();
    let plan = &program.plan;
    let cost = plan.cost(program.train);
    let windows = if trainer.is_streamed() {
        format!(
            "; training images come in windows of {} of {} steps",
            program.window, program.steps
        )
    } else {
        String::new()
    };
    format!(
        "plan: {} launches a step, {:.2} GFLOP, {:.0} MB of traffic; {:.0} MB of memory{windows}",
        plan.launches(program.train).len(),
        cost.flops as f64 / 1e9,
        (cost.read + cost.written) as f64 / 1e6,
        plan.memory.bytes() as f64 / 1e6
    )
}
