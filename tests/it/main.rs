//! All tests but `allocations`, which counts the allocations of its whole process. One binary: it is linked
//! once, and a helper (`common`) is written once.
//!
//! `cargo test --release --test it gpu_kernels::` runs one module.

mod common;

mod bench_command;
mod command;
mod costs;
mod counters;
mod data_command;
mod data_sets;
mod determinism;
mod devices_agree;
mod documents;
mod download;
mod evaluation;
mod experiment;
mod family;
mod feeds;
mod gpu_kernels;
mod gradcheck_command;
mod gradients;
mod guards;
mod import_command;
mod kinds;
mod lockstep;
mod lowered;
mod pictures;
mod pictures_command;
mod plan;
mod properties;
mod pytorch;
mod reference;
mod scaling;
mod send;
mod shaders;
mod snapshots;
mod streaming;
mod tables;
mod trace;
mod training;
