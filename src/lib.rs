//! Diabolo
#![warn(missing_docs)]

pub mod data;
pub mod device;
pub mod evaluate;
pub mod files;
pub mod kernels;
pub mod layers;
pub mod models;
pub mod plan;
pub mod recipe;
pub mod report;
pub mod scalar;
pub mod train;
