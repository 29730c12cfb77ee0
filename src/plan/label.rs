//! What a launch is part of: the layer that emitted it, the pass, and the part.

use std::fmt;

use serde::Serialize;

/// Which part of a step a launch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// Brings a batch together.
    Input,
    /// Computes activations.
    Forward,
    /// Computes a value that is to become small, and notes it.
    Objective,
    /// Computes gradients.
    Backward,
    /// Changes parameters, or the clock.
    Update,
}

impl Pass {
    /// Its name, as reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Input => "input",
            Pass::Forward => "forward",
            Pass::Objective => "objective",
            Pass::Backward => "backward",
            Pass::Update => "update",
        }
    }
}

/// A launch's label. As text: `encoder.0 backward: weight`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The layer or objective that emitted the launch, such as `encoder.0`.
    pub layer: String,
    /// The pass.
    pub pass: Pass,
    /// Which of the layer's launches in that pass, such as `weight`; empty if it is the only one.
    pub part: &'static str,
}

impl From<&str> for Label {
    /// A launch that no layer emits: a part of a search, say.
    fn from(name: &str) -> Self {
        Label {
            layer: name.to_owned(),
            pass: Pass::Input,
            part: "",
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.layer)?;
        // Only layers and objectives have more than one pass.
        if let Pass::Forward | Pass::Backward = self.pass {
            write!(f, " {}", self.pass.name())?;
        }
        if !self.part.is_empty() {
            write!(f, ": {}", self.part)?;
        }
        Ok(())
    }
}
