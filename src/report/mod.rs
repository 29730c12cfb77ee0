//! What a run leaves behind: its folder, its summary, its pictures.

#[cfg(feature = "cli")]
pub mod benchmarks;
#[cfg(feature = "cli")]
pub mod differences;
mod folder;
mod grid;
mod plan;
mod reconstructions;
#[cfg(feature = "cli")]
pub mod scaling;
mod summary;
pub mod timeline;

pub use folder::{FolderError, RunFolder, Start};
pub use grid::{write_grid, write_image};
pub use plan::{
    BufferListing, LaunchListing, OperandListing, PlanListing, RoutineListing, ShaderListing,
};
pub use reconstructions::{PictureError, write_reconstructions};
pub use summary::{LossPair, Seconds, Summary};
