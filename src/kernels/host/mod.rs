//! What CPU kernels run on: the memory they read and write, and the threads that share their tasks.

mod memory;
mod team;

pub use memory::{Memory, Scratch, ScratchSize, Table};
pub use team::Team;
