//! Denoising autoencoders from the kernel up: every forward and backward pass written by hand, in
//! Rust, down to the register tiles of the matrix product, and in WGSL on `wgpu`.
//!
//! # The tour
//! A training step is a list of kernels. Data flows one way:
//!
//! ```text
//! recipe (TOML) → model → layers, objectives → emitter → plan → device → training → evaluation → report
//! ```
//!
//! 1. A [`recipe`] is a whole experiment as typed TOML.
//! 2. A [model](models) puts [`layers`] and [objectives](objective) together, and writes its own training
//!    step. A layer owns views of its parameters; its forward and its backward, side by side, append
//!    launches to a plan through an [emitter](emit). Many layers may read an activation; a gradient has one owner.
//! 3. A [`plan`] is plain data: named buffers, and routines, each an ordered list of kernel launches.
//!    Memory is planned by lifetimes, costs are known from the shapes.
//! 4. [`kernels`] has a room per kernel family: equation, shapes, cost, CPU code for `f32` and
//!    `f64`, GPU geometry. The WGSL stands in `shaders/` under the kernel's name. Dense layers,
//!    convolution and transposed convolution, batch norm, pooling, activations, losses, Adam, k-NN.
//! 5. A [`device`] executes plans: the CPU on all its cores, or a GPU.
//! 6. [`data`] finds, fetches and reads images; [`train`] runs epochs, keeps checkpoints and finds
//!    out what went wrong; [`evaluate`] compares k-NN on pixels and on features from few labels, and
//!    measures how well noise is removed; [`report`] writes the files of a run.
//! 7. An [experiment] is all of this in one call: it trains a recipe, encodes, judges, and writes a run's folder
//!    if it is given one.
//! 8. [`gradcheck`] compares every hand-written gradient with finite differences, [`lockstep`] two devices
//!    launch by launch, to within what [`rounding`] explains.
//! 9. [`trace`] says where a step spends its time, launch by launch, against the [`ceilings`] that the
//!    machine itself sets; [`bench`](mod@bench) times kernels, steps and searches, and compares devices.
//!
//! # A step in twenty lines
//! One dense layer, forward and backward, on the CPU:
//!
//! ```
//! use std::sync::Arc;
//! use diabolo::buffer::Element;
//! use diabolo::device::{Device, HostData, cpu::Cpu};
//! use diabolo::emit::{Emission, Gradient, Mode, Parameters};
//! use diabolo::layers::{Dense, Layer};
//! use diabolo::plan::PlanBuilder;
//!
//! let mut emission = Emission::new(PlanBuilder::new(), 0);
//! let plan = &mut emission.plan;
//! let mut parameters = Parameters::new(plan);
//! let dense = Dense::new(plan, &mut parameters, "dense", [3, 2], 1.0);
//! let x = plan.persistent("x", Element::Real, 4 * 3).matrix(4, 3);
//! let dy = plan.persistent("dy", Element::Real, 4 * 2).matrix(4, 2);
//!
//! let mut e = emission.begin("step", Mode::Training);
//! let (_y, saved) = dense.forward(&mut e, x);
//! let dx = dense.backward(&mut e, saved, Gradient::new(dy)).matrix();
//! e.keep(dx.view);
//! let step = e.end().routine;
//!
//! // No launch reads y or the weight's gradient, and neither is kept: the plan drops their launches.
//! let plan = Arc::new(emission.plan.finish(u64::MAX)?);
//! for (launch, dropped) in plan.routines[0].emitted() {
//!     println!("{:<24} {:?} {dropped}", launch.label, launch.kernel.cost());
//! }
//! assert_eq!(plan.launches(step).len(), 1);
//! let mut device = Cpu::<f32>::new(plan.clone(), Cpu::<f32>::team(1)?);
//! device.write(parameters.tensors[0].value, HostData::Real(&[1.0; 6]))?;
//! device.write(dy.view, HostData::Real(&[0.5; 8]))?;
//! device.run(step, 1)?;
//! assert_eq!(device.read_real(dx.view)?, [1.0; 12]); // dy · weightᵀ
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

pub mod bench;
pub mod buffer;
pub mod ceilings;
pub mod data;
pub mod device;
pub mod emit;
mod error;
pub mod evaluate;
pub mod experiment;
pub mod files;
pub mod gradcheck;
pub mod image;
pub mod kernels;
pub mod layers;
pub mod lockstep;
pub mod machine;
pub mod models;
pub mod objective;
pub mod plan;
pub mod progress;
pub mod recipe;
pub mod report;
pub mod rounding;
pub mod scalar;
pub mod trace;
pub mod train;

pub use error::{Error, ErrorKind};
