//! What a run leaves behind: its folder, its summary, its pictures.

mod folder;
mod reconstructions;
mod summary;

pub use folder::{FolderError, RunFolder, Start};
pub use reconstructions::write_reconstructions;
pub use summary::{LossPair, Seconds, Summary};
