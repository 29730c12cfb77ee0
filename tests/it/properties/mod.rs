//! Every kernel on real numbers against its textbook definition, and the identities that hold
//! between kernels, over random shapes.
//!
//! The definitions (`oracle.rs`) are plain loops over f64 and share no code with the kernels. They carry
//! an error bound along (`exact.rs`): nobody picks a tolerance. The CPU computes each case in f32 and
//! in f64 (`bench.rs`).
//!
//! Cases are the same in every run, and a failing one is shrunk to the smallest shape that fails.

mod batch_norm;
mod bench;
mod emit;
mod exact;
mod gather;
mod images;
mod invariances;
mod linear;
mod matrices;
mod nearest;
mod nearest_filtered;
mod optimiser;
mod oracle;
mod shapes;

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseResult, TestRunner};

/// Tries a property on `cases` values of a strategy.
fn for_all<S: Strategy<Value: Debug>>(
    cases: u32,
    strategy: S,
    property: impl Fn(S::Value) -> TestCaseResult,
) {
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Config::default()
    };
    if let Err(failure) = TestRunner::new(config).run(&strategy, property) {
        panic!("{failure}");
    }
}
