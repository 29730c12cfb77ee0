//! Notes: the named values of a step.

use serde::{Deserialize, Serialize};

use crate::buffer::View;

/// What a noted value is a mean over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// The mean over all values of all images.
    #[serde(rename = "per element")]
    PerElement,
    /// Summed over an image's values or a code's elements, the mean over images; natural logarithms.
    #[serde(rename = "nats per image")]
    NatsPerImage,
    /// Summed over an image's values or a code's elements, the mean over images.
    #[serde(rename = "per image")]
    PerImage,
    /// Of a batch as a whole; natural logarithms.
    #[serde(rename = "nats")]
    Nats,
    /// A part of the images, from 0 to 1.
    #[serde(rename = "fraction")]
    Fraction,
}

impl Unit {
    /// Its name, as reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Unit::PerElement => "per element",
            Unit::NatsPerImage => "nats per image",
            Unit::PerImage => "per image",
            Unit::Nats => "nats",
            Unit::Fraction => "fraction",
        }
    }
}

/// A value that every step of a routine notes on the device.
#[derive(Clone, Debug)]
pub struct Note {
    /// Its name, unique in its routine.
    pub name: String,
    /// What it is a mean over.
    pub unit: Unit,
    /// How much of it the loss contains: 0 if it is noted for the reader alone.
    pub weight: f64,
    /// How many updates of the step come before it: the turn whose gradients it has.
    pub turn: usize,
    /// `[steps]`: the value of each step, at the clock's position.
    pub values: View,
}
