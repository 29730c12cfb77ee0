//! What CPU kernels run on: the memory they read and write, and the threads that share their tasks.

mod memory;
mod pieces;
mod products;
mod team;

pub use memory::{Memory, Scratch, ScratchSize, Table};
pub use pieces::Pieces;
pub use products::Products;
pub use team::Team;
