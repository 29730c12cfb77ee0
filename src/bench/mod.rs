//! Benchmarks.

pub mod scaling;
