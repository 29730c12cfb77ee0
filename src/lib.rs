//! Diabolo
#![warn(missing_docs)]

pub mod device;
pub mod kernels;
pub mod plan;
pub mod scalar;
