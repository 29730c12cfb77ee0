//! `diabolo devices`

use clap::Args;

use diabolo::device::list;

use super::{Done, Failure, print, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo devices
  diabolo devices --json
  diabolo run mnist-dense --device nvidia  an adapter by part of its name")]
pub struct Options {
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

pub fn devices(options: &Options) -> Result<Done, Failure> {
    let listing = list();
    if options.json {
        print(serde_json::to_string_pretty(&listing)?)?;
        return Ok(Done::Fully);
    }
    let (cores, simd) = (listing.cpu.cores, listing.cpu.simd.join(" "));
    print(format!("CPU: {cores} cores, {simd}"))?;
    for adapter in &listing.adapters {
        let kind = if adapter.software {
            "software renderer"
        } else {
            "GPU"
        };
        let yes = |present: bool| if present { "yes" } else { "no" };
        print(format!("{kind}: {}", adapter.name))?;
        print(format!(
            "  driver: {} ({})",
            adapter.driver, adapter.backend
        ))?;
        print(format!(
            "  limits: buffers {} MiB, bindings {} MiB, groups {} threads and {} KiB",
            adapter.max_buffer_size >> 20,
            adapter.max_storage_binding_size >> 20,
            adapter.max_workgroup_threads,
            adapter.max_workgroup_memory >> 10
        ))?;
        print(format!(
            "  kernels can be timed: {}; subgroups: {}",
            yes(adapter.timestamps),
            yes(adapter.subgroups)
        ))?;
    }
    print(table::wrapped(&format!("auto takes {}.", listing.reason)))?;
    Ok(Done::Fully)
}
