//! A plan is data: this prints the training step of a recipe, launch by launch, and what a GPU would be told.
//!
//! ```text
//! cargo run --release --example read_a_plan
//! ```

use std::borrow::Cow;

use diabolo::device::gpu::lower::Lowered;
use diabolo::image::ImageShape;
use diabolo::recipe::Recipe;
use diabolo::train::{DataShape, Program};

fn main() -> Result<(), diabolo::Error> {
    let recipe = Recipe::load("reference-dense")?;
    let image = ImageShape {
        height: 28,
        width: 28,
        channels: 1,
    };
    let data = DataShape {
        train: 60_000,
        held_out: 10_000,
        image,
        classes: 10,
    };
    let program = Program::new(&recipe, data, u64::MAX)?;
    let plan = &program.plan;
    println!("launch                                    FLOP      bytes");
    for launch in plan.launches(program.train) {
        let cost = launch.kernel.cost();
        let label = launch.label.to_string();
        println!("{label:<36} {:>10} {:>10}", cost.flops, cost.bytes());
    }
    let lowered = Lowered::new(plan, |_, shader| Cow::Borrowed(shader));
    let bytes: usize = lowered.shaders.iter().map(|shader| shader.wgsl.len()).sum();
    println!(
        "for a GPU: {} memory slots, {} shaders of {bytes} bytes, {} routines",
        lowered.slots.len(),
        lowered.shaders.len(),
        lowered.routines.len()
    );
    Ok(())
}
