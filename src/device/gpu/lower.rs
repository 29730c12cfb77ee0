//! Lowering: a plan written out as what a GPU is told, before any GPU is there.
//!
//! [`Lowered`] is plain data without a driver's type in it: how many bytes each memory slot takes, the
//! final text of every shader, the words of the uniform buffer, and for each launch its dispatches with
//! the byte ranges that are bound to them. It can be written to a file and executed elsewhere; on this
//! machine [`Gpu`](super::Gpu) executes it.
//!
//! Bindings count as in the shaders: binding 0 is the dispatch's piece of the uniform buffer, if the
//! shader has one; bindings 1, 2, … are [`Dispatch::bindings`] in order.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::buffer::{Element, View};
use crate::kernels::Step;
use crate::plan::Plan;

/// What becomes of a kernel's shader, by name, before its constants are set.
pub type Rewrite = fn(&str, &'static str) -> Cow<'static, str>;

/// WebGPU's default for the distance at which pieces of a uniform buffer can be bound; every adapter
/// takes it.
const UNIFORM_ALIGNMENT: usize = 256;

/// A plan as a GPU executes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lowered {
    /// Bytes of each memory slot, zeroed when a plan is loaded; 0 where a slot holds nothing. The last one
    /// is what one dispatch of a launch leaves for the next.
    pub slots: Vec<u64>,
    /// Where the host finds each of the plan's buffers, in the plan's order.
    pub buffers: Vec<BufferPlace>,
    /// Every shader variant that a dispatch runs.
    pub shaders: Vec<Shader>,
    /// The uniform buffer's words.
    pub uniforms: Vec<u32>,
    /// The routines in the plan's order.
    pub routines: Vec<Routine>,
}

/// Where a buffer lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BufferPlace {
    /// Its name.
    pub name: String,
    /// What its elements are: reals are `f32`, bytes come four to a word.
    pub element: Element,
    /// Elements.
    pub len: usize,
    /// Its slot, at whose beginning it lies.
    pub slot: usize,
}

/// A shader with its constants set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shader {
    /// The kernel's name, and the values of its constants.
    pub name: String,
    /// WGSL, with the entry point `main`.
    pub wgsl: String,
    /// Whether binding 0 is a piece of the uniform buffer.
    pub uniform: bool,
    /// For each of bindings 1, 2, … whether the shader writes it.
    pub writes: Vec<bool>,
}

/// A routine: launches that run one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routine {
    /// Its name.
    pub name: String,
    /// Its launches.
    pub launches: Vec<Launch>,
}

/// A launch: one dispatch or several, one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// Its label.
    pub label: String,
    /// Its dispatches.
    pub dispatches: Vec<Dispatch>,
}

/// A dispatch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispatch {
    /// Index of its shader.
    pub shader: usize,
    /// First byte and number of bytes of its piece of the uniform buffer; nothing without one.
    pub uniform: Option<[u64; 2]>,
    /// What bindings 1, 2, … are.
    pub bindings: Vec<Binding>,
    /// Work-groups in x, y, z.
    pub groups: [u32; 3],
}

/// A range of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The slot.
    pub slot: usize,
    /// First byte.
    pub offset: u64,
    /// Bytes, a multiple of four.
    pub bytes: u64,
}

/// Bytes that a buffer or a view takes: bytes come four to a word.
pub(super) fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(4)
}

/// Where a view of a plan lies.
pub(super) fn place(plan: &Plan, view: View) -> Binding {
    let (slot, element) = if view.buffer == plan.scratch() {
        (plan.memory.slots.len(), Element::Real)
    } else {
        let slot = plan.memory.slot_of[view.buffer.0];
        (slot, plan.buffer(view).element)
    };
    Binding {
        slot,
        offset: view.offset as u64 * element.bytes(),
        bytes: padded(view.len as u64 * element.bytes()),
    }
}

impl Lowered {
    /// Lowers a plan, with every kernel's shader rewritten first.
    pub fn new(plan: &Plan, rewrite: Rewrite) -> Lowered {
        let mut lowering = Lowering {
            plan,
            rewrite,
            shader_of: HashMap::new(),
            shaders: Vec::new(),
            uniforms: Vec::new(),
            scratch: 0,
        };
        let routines = plan.routines.iter().map(|routine| Routine {
            name: routine.name.clone(),
            launches: routine
                .launches
                .iter()
                .map(|launch| lowering.launch(launch))
                .collect(),
        });
        let routines = routines.collect();
        let slots = plan.memory.slots.iter();
        let slots = slots.map(|slot| padded(slot.len as u64 * slot.element.bytes()));
        let buffers = plan.buffers.iter().zip(&plan.memory.slot_of);
        let buffers = buffers.map(|(buffer, &slot)| BufferPlace {
            name: buffer.name.clone(),
            element: buffer.element,
            len: buffer.len,
            slot,
        });
        Lowered {
            slots: slots.chain([lowering.scratch]).collect(),
            buffers: buffers.collect(),
            shaders: lowering.shaders,
            uniforms: lowering.uniforms,
            routines,
        }
    }

    /// Every dispatch of every routine.
    pub fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        let launches = self.routines.iter().flat_map(|routine| &routine.launches);
        launches.flat_map(|launch| &launch.dispatches)
    }
}

/// What has been written out so far.
struct Lowering<'a> {
    plan: &'a Plan,
    rewrite: Rewrite,
    /// Index of the shader of a name.
    shader_of: HashMap<String, usize>,
    shaders: Vec<Shader>,
    uniforms: Vec<u32>,
    /// Bytes that the dispatches of any one launch leave for each other. Launches run one after the other,
    /// so one slot serves them all.
    scratch: u64,
}

impl Lowering<'_> {
    fn launch(&mut self, launch: &crate::plan::Launch) -> Launch {
        let steps = launch.kernel.steps(self.plan.scratch());
        Launch {
            label: launch.label.to_string(),
            dispatches: steps.iter().map(|step| self.dispatch(step)).collect(),
        }
    }

    fn dispatch(&mut self, step: &Step) -> Dispatch {
        let bindings = step.operands.iter().map(|operand| {
            let binding = place(self.plan, operand.view);
            if operand.view.buffer == self.plan.scratch() {
                self.scratch = self.scratch.max(binding.offset + binding.bytes);
            }
            binding
        });
        let bindings = bindings.collect();
        Dispatch {
            bindings,
            shader: self.shader(step),
            uniform: self.uniform(&step.dispatch.dims),
            groups: step.dispatch.groups,
        }
    }

    /// Appends a dispatch's words to the uniform buffer.
    fn uniform(&mut self, words: &[u32]) -> Option<[u64; 2]> {
        if words.is_empty() {
            return None;
        }
        let first = self.uniforms.len();
        self.uniforms.extend(words);
        let end = self.uniforms.len().next_multiple_of(UNIFORM_ALIGNMENT / 4);
        self.uniforms.resize(end, 0);
        // A uniform's size is a multiple of sixteen bytes.
        let bytes = (4 * words.len() as u64).next_multiple_of(16);
        Some([4 * first as u64, bytes])
    }

    /// Index of a step's variant of its shader.
    fn shader(&mut self, step: &Step) -> usize {
        let constants = &step.dispatch.constants;
        let values = constants
            .iter()
            .map(|(name, value)| format!(" {name}={value}"));
        let name = format!("{}{}", step.name, values.collect::<String>());
        if let Some(&index) = self.shader_of.get(&name) {
            return index;
        }
        let index = self.shaders.len();
        let text = (self.rewrite)(step.name, step.shader);
        let writes = step.operands.iter().map(|operand| operand.is_written());
        self.shaders.push(Shader {
            name: name.clone(),
            wgsl: specialise(&text, constants),
            uniform: !step.dispatch.dims.is_empty(),
            writes: writes.collect(),
        });
        self.shader_of.insert(name, index);
        index
    }
}

/// Replaces the values of `const NAME: type = value;` lines.
///
/// A shader is valid as it stands, with its defaults; this makes its variants. Panics if there is
/// no such line: a mistake in the room or its shader, which the tests' walk over all kernels finds.
pub fn specialise(source: &str, constants: &[(&str, String)]) -> String {
    let mut text = source.to_owned();
    for (name, value) in constants {
        let declaration = format!("const {name}: ");
        let line = text
            .find(&declaration)
            .unwrap_or_else(|| panic!("no `{declaration}` in the shader"));
        let start = line + text[line..].find("= ").expect("a declaration has a value") + 2;
        let end = start + text[start..].find(';').expect("a declaration ends");
        text.replace_range(start..end, value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::specialise;

    #[test]
    fn constants_are_replaced_by_name() {
        let source = "const A: u32 = 1u; // one\nconst B: bool = false;";
        let text = specialise(source, &[("B", "true".to_owned()), ("A", "7u".to_owned())]);
        assert_eq!(text, "const A: u32 = 7u; // one\nconst B: bool = true;");
    }
}
