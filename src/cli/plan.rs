//! `diabolo plan`

use clap::{Args, ValueEnum};
use comfy_table::{Attribute, Cell};

use diabolo::buffer::Access;
use diabolo::device::gpu::GpuOptions;
use diabolo::image::ImageShape;
use diabolo::machine::memory_limit;
use diabolo::recipe::Recipe;
use diabolo::report::{LaunchListing, OperandListing, PlanListing};
use diabolo::train::Program;

use super::shape::data_shape;
use super::{Done, Failure, print, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo plan mnist-dense                every launch of every routine
  diabolo plan mnist-vae --routine train  the training step alone
  diabolo plan mine.toml --image 64x64x3  if the recipe does not say the size
  diabolo plan mnist-conv --json | jq '.routines[0].launches'

Below a kernel's name stands what it computes, where the name leaves that open (∗ is a convolution, \
∗ᵀ its transpose). Matrices have the shapes in which they are stored. A launch writes the operands \
with →, and updates those with ↔ in place.

A launch is dropped when neither a later launch nor the host reads what it writes: the gradient of \
the images, say. Dropped launches are struck through on a terminal and marked with - elsewhere; no \
device executes them. With --json: buffers, routines with their launches, and the final text of every \
shader that the launches run on a GPU.")]
pub struct Options {
    /// Built-in name (see `diabolo recipes`) or path of a TOML file
    recipe: String,
    /// Only this routine: train, evaluate, …
    #[arg(long, value_name = "NAME")]
    routine: Option<String>,
    /// Height, width and channels of the images, for a recipe whose data set does not fix them
    #[arg(long, value_name = "HxWxC")]
    image: Option<ImageShape>,
    /// The kind of GPU whose shaders --json prints
    #[arg(long, default_value = "gpu")]
    device: DeviceKind,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum DeviceKind {
    /// No shaders: the launches are the same
    Cpu,
    /// As training uses it
    Gpu,
    /// With matrix products by plain loops
    GpuNaive,
}

pub fn plan(options: &Options) -> Result<Done, Failure> {
    let recipe = Recipe::load_last_phase(&options.recipe)?;
    let shape = data_shape(&recipe, options.image)?;
    let program = Program::new(&recipe, shape, memory_limit())?;
    let gpu = match options.device {
        DeviceKind::GpuNaive => GpuOptions::naive(),
        DeviceKind::Cpu | DeviceKind::Gpu => GpuOptions::default(),
    };
    let mut listing = PlanListing::new(&program.plan, &gpu);
    if options.device == DeviceKind::Cpu {
        listing.shaders.clear();
    }
    if let Some(name) = &options.routine {
        let names: Vec<String> = listing.routines.iter().map(|r| r.name.clone()).collect();
        listing.routines.retain(|routine| routine.name == *name);
        if listing.routines.is_empty() {
            let names = names.join(", ");
            return Err(format!(
                "--routine {name}: expected one of {names}\nhint: --routine train"
            )
            .into());
        }
    }
    if options.json {
        print(serde_json::to_string_pretty(&listing)?)?;
    } else {
        show(&listing, &program)?;
    }
    Ok(Done::Fully)
}

fn show(listing: &PlanListing, program: &Program) -> Result<(), Failure> {
    let mut buffers = table::new(["buffer", "elements", "kind", "lifetime", "slot"]);
    table::align_right(&mut buffers, [1, 4]);
    for buffer in &listing.buffers {
        buffers.add_row([
            buffer.name.clone(),
            buffer.len.to_string(),
            buffer.element.to_string(),
            buffer.lifetime.to_string(),
            buffer.slot.to_string(),
        ]);
    }
    print(buffers)?;
    for routine in &listing.routines {
        let mut launches = table::new(["", "launch", "kernel", "operands", "MFLOP", "MB"]);
        table::align_right(&mut launches, [0, 4, 5]);
        table::keep_whole(&mut launches, 2);
        let mut number = 0;
        for launch in &routine.launches {
            number += usize::from(!launch.dropped);
            launches.add_row(row(launch, number));
        }
        let dropped = routine
            .launches
            .iter()
            .filter(|launch| launch.dropped)
            .count();
        let kept = routine.launches.len() - dropped;
        print(format!(
            "\n{}: {kept} launches, {dropped} dropped",
            routine.name
        ))?;
        print(launches)?;
    }
    print(format!(
        "{} buffers in {} slots, {:.1} MB",
        listing.buffers.len(),
        program.plan.memory.slots.len(),
        program.plan.memory.bytes() as f64 / 1e6
    ))
}

/// An operand, marked if it is written (→) or updated in place (↔). Its shape has no spaces, where a narrow
/// column would cut it.
fn operand(operand: &OperandListing) -> String {
    let mark = match operand.access {
        Access::Read => "",
        Access::Write => "→ ",
        Access::Update => "↔ ",
    };
    let shape: Vec<String> = operand.shape.iter().map(usize::to_string).collect();
    format!("{mark}{} [{}]", operand.name, shape.join("×"))
}

/// A launch's cells: marked if it was dropped, and on a terminal struck through.
fn row(launch: &LaunchListing, number: usize) -> Vec<Cell> {
    let number = if launch.dropped {
        "-".to_owned()
    } else {
        number.to_string()
    };
    let operands: Vec<String> = launch.operands.iter().map(operand).collect();
    let cells = [
        number,
        launch.label.clone(),
        format!("{}\n{}", launch.kernel, launch.formula)
            .trim_end()
            .to_owned(),
        operands.join("\n"),
        format!("{:.2}", launch.flops as f64 / 1e6),
        format!("{:.2}", launch.bytes as f64 / 1e6),
    ];
    let cells = cells.into_iter().map(Cell::new);
    if launch.dropped {
        let struck = |cell: Cell| cell.add_attribute(Attribute::CrossedOut);
        cells.map(struck).collect()
    } else {
        cells.collect()
    }
}
