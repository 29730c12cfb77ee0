//! `diabolo devices`

use clap::Args;
use comfy_table::CellAlignment;

use diabolo::device::list;

use super::{Done, Failure, print, table};

#[derive(Args)]
#[command(after_help = "Examples:
  diabolo devices
  diabolo devices --json
  diabolo run mnist-dense --device nvidia    the adapter whose name contains `nvidia`")]
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
    if !listing.adapters.is_empty() {
        let mut table = table::new([
            "adapter",
            "interface",
            "driver",
            "kind",
            "buffer MiB",
            "binding MiB",
            "group KiB",
            "threads",
            "timing",
            "subgroups",
        ]);
        for index in 4..8 {
            let column = table.column_mut(index).expect("there are ten");
            column.set_cell_alignment(CellAlignment::Right);
        }
        let yes = |present: bool| if present { "yes" } else { "no" }.to_owned();
        for adapter in &listing.adapters {
            table.add_row([
                adapter.name.clone(),
                adapter.backend.clone(),
                adapter.driver.clone(),
                if adapter.software { "software" } else { "GPU" }.to_owned(),
                (adapter.max_buffer_size >> 20).to_string(),
                (adapter.max_storage_binding_size >> 20).to_string(),
                (adapter.max_workgroup_memory >> 10).to_string(),
                adapter.max_workgroup_threads.to_string(),
                yes(adapter.timestamps),
                yes(adapter.subgroups),
            ]);
        }
        print(table)?;
    }
    print(format!("auto takes {}.", listing.reason))?;
    Ok(Done::Fully)
}
