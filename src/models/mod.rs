//! Models: layers put together, ready to be emitted into a plan.

mod autoencoder;

pub use autoencoder::{Autoencoder, ModelError, Pool, Shape, Stage};
