//! The ground floor: buffers, views into them, how a launch touches a view, and what that costs.

mod cost;

pub use cost::Cost;

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a buffer's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// A real number: `f32` on the GPU, the device's scalar on the CPU.
    Real,
    /// An unsigned 32-bit index or counter.
    Index,
    /// A byte, as image files hold pixels; four to a word on the GPU.
    Byte,
}

impl Element {
    /// Bytes per element where a real is an `f32`.
    pub fn bytes(self) -> u64 {
        match self {
            Element::Real | Element::Index => 4,
            Element::Byte => 1,
        }
    }
}

/// How long a buffer's contents must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifetime {
    /// Across routines: parameters, data, whatever the host writes or reads.
    Persistent,
    /// Across routines too, but only launches read it: gradients of parameters.
    Internal,
    /// From the first to the last launch of a routine that touches it; its memory is reused.
    Temporary,
}

impl fmt::Display for Element {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Element::Real => "real",
            Element::Index => "index",
            Element::Byte => "byte",
        })
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Lifetime::Persistent => "persistent",
            Lifetime::Internal => "internal",
            Lifetime::Temporary => "temporary",
        })
    }
}

/// A named piece of device memory.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Unique within the plan where the host needs it; shown in errors and reports.
    pub name: String,
    /// Element type.
    pub element: Element,
    /// Number of elements.
    pub len: usize,
    /// Whether its memory may be reused.
    pub lifetime: Lifetime,
}

/// A piece of memory that holds one buffer at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Element type of every buffer that lies here.
    pub element: Element,
    /// Elements, enough for the largest of them.
    pub len: usize,
}

/// Index of a buffer in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) usize);

/// A contiguous range of a buffer's elements: what kernels take as operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The buffer.
    pub buffer: BufferId,
    /// First element.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

impl View {
    /// Whether two views share an element.
    pub fn overlaps(self, other: View) -> bool {
        self.buffer == other.buffer
            && self.offset < other.offset + other.len
            && other.offset < self.offset + self.len
    }

    /// Elements `start .. start + len` of this view.
    ///
    /// Panics if the range leaves the view: kernels' shapes are checked when they are emitted.
    pub fn part(self, start: usize, len: usize) -> View {
        assert!(start + len <= self.len, "part {start}+{len} of {self:?}");
        View {
            offset: self.offset + start,
            len,
            ..self
        }
    }

    /// The same elements seen as a row-major matrix.
    ///
    /// Panics unless `rows · cols` is the view's length.
    pub fn matrix(self, rows: usize, cols: usize) -> Matrix {
        assert_eq!(self.len, rows * cols, "{rows}×{cols} matrix over {self:?}");
        Matrix {
            view: self,
            rows,
            cols,
        }
    }
}

/// A view with the shape `[rows, cols]`, row-major: every activation, channels last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// The elements.
    pub view: View,
    /// Rows: samples, or samples × positions for images.
    pub rows: usize,
    /// Columns: features or channels.
    pub cols: usize,
}

/// How a launch touches an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Only reads it.
    Read,
    /// Writes every element without reading any.
    Write,
    /// Reads and writes, in place.
    Update,
}

/// One operand of a launch, in binding order.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// The operand's name in the room's equation.
    pub name: &'static str,
    /// Where it lies.
    pub view: View,
    /// Rows, if it is a matrix.
    pub rows: Option<usize>,
    /// How it is touched.
    pub access: Access,
}

/// A view, with its rows if it is a matrix: what a kernel hands over as an operand.
pub struct Extent {
    view: View,
    rows: Option<usize>,
}

impl From<View> for Extent {
    fn from(view: View) -> Self {
        Extent { view, rows: None }
    }
}

impl From<Matrix> for Extent {
    fn from(matrix: Matrix) -> Self {
        Extent {
            view: matrix.view,
            rows: Some(matrix.rows),
        }
    }
}

impl Operand {
    fn new(name: &'static str, extent: impl Into<Extent>, access: Access) -> Self {
        let Extent { view, rows } = extent.into();
        Operand {
            name,
            view,
            rows,
            access,
        }
    }

    /// An operand that is only read.
    pub fn read(name: &'static str, extent: impl Into<Extent>) -> Self {
        Operand::new(name, extent, Access::Read)
    }

    /// An operand that is written whole.
    pub fn write(name: &'static str, extent: impl Into<Extent>) -> Self {
        Operand::new(name, extent, Access::Write)
    }

    /// An operand that is changed in place.
    pub fn update(name: &'static str, extent: impl Into<Extent>) -> Self {
        Operand::new(name, extent, Access::Update)
    }

    /// Whether the launch may change it.
    pub fn is_written(&self) -> bool {
        self.access != Access::Read
    }

    /// Whether the launch looks at what is there.
    pub fn is_read(&self) -> bool {
        self.access != Access::Write
    }

    /// `[rows, cols]` of a matrix, `[len]` of anything else.
    pub fn shape(&self) -> Vec<usize> {
        match self.rows {
            Some(rows) => vec![rows, self.view.len / rows],
            None => vec![self.view.len],
        }
    }
}
