//! What the tables of several kinds of model have in common.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernels::Window;

/// One convolution. A size is one number, or \[rows, columns\].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// Output channels (maps).
    pub channels: usize,
    /// Size of the kernel.
    pub kernel: Size,
    /// Step between neighbouring positions of the kernel.
    #[serde(default = "one")]
    pub stride: Size,
    /// Zeros added on each side. Without this key, as many as keep the size of the maps at stride 1 (for
    /// odd kernels).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding: Option<Size>,
    /// Dilation: distance between neighbouring elements of the kernel.
    #[serde(default = "one")]
    pub dilation: Size,
    /// 2×2 pooling behind the convolution; a decoder doubles its maps there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
}

/// One number for both directions, or \[rows, columns\].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a whole number or a pair [rows, columns]")]
pub enum Size {
    /// The same in both directions.
    Both(usize),
    /// \[rows, columns\]
    Pair([usize; 2]),
}

impl Size {
    /// \[rows, columns\]
    pub fn pair(self) -> [usize; 2] {
        match self {
            Size::Both(size) => [size; 2],
            Size::Pair(pair) => pair,
        }
    }
}

fn one() -> Size {
    Size::Both(1)
}

/// What a 2×2 pooling takes of each block of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The maximum of each block.
    Max,
    /// The mean of each block.
    Average,
}

impl Convolution {
    /// The convolution of maps of a size.
    pub(super) fn window(&self, size: [usize; 2]) -> Window {
        let (kernel, dilation) = (self.kernel.pair(), self.dilation.pair());
        let same = [0, 1].map(|i| dilation[i] * kernel[i].saturating_sub(1) / 2);
        Window {
            size,
            kernel,
            stride: self.stride.pair(),
            padding: self.padding.map_or(same, Size::pair),
            dilation,
        }
    }
}

/// A value out of range: its key, what it says, and what it may say.
pub type Wrong = (&'static str, String, &'static str);

/// Widest layer: beyond it even one weight matrix would not fit any memory.
const WIDEST: usize = 1 << 24;
const WIDTH: &str = "a width from 1 to 16777216";

/// The first of these widths that is out of range.
pub(super) fn wrong_width(key: &'static str, widths: &[usize]) -> Option<Wrong> {
    let wrong = widths.iter().find(|width| !(1..=WIDEST).contains(*width));
    wrong.map(|width| (key, width.to_string(), WIDTH))
}

/// The first value of these convolutions that is out of range.
pub(super) fn wrong_convolution(convolutions: &[Convolution]) -> Option<Wrong> {
    /// Largest kernel, stride, padding or dilation.
    const FARTHEST: usize = 1 << 12;
    for convolution in convolutions {
        let wrong = wrong_width("model.convolutions.channels", &[convolution.channels]);
        if wrong.is_some() {
            return wrong;
        }
        let window = convolution.window([1; 2]);
        for (key, pair, least) in [
            ("model.convolutions.kernel", window.kernel, 1),
            ("model.convolutions.stride", window.stride, 1),
            ("model.convolutions.dilation", window.dilation, 1),
            ("model.convolutions.padding", window.padding, 0),
        ] {
            if pair.iter().any(|side| !(least..=FARTHEST).contains(side)) {
                let expected = match least {
                    0 => "0 to 4096 in both directions",
                    _ => "1 to 4096 in both directions",
                };
                return Some((key, format!("{pair:?}"), expected));
            }
        }
    }
    None
}
