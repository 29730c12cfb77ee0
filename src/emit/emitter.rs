//! The emitter.

use super::{Group, Note, Parameter, Parameters, Unit};
use crate::buffer::{BufferId, Element, Matrix, View};
use crate::kernels::Kernel;
use crate::kernels::elementwise::{Add, Copy};
use crate::kernels::random::FIRST_FREE_STREAM;
use crate::plan::{Label, Pass, PlanBuilder, RoutineId};

/// The launch that adds a parameter's gradients of two uses.
pub const SUM_OVER_USES: &str = "sum over uses";

/// Training uses a batch's own statistics and updates the running ones; evaluation uses those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Parameters are about to be updated.
    Training,
    /// Parameters and running statistics stay as they are.
    Evaluation,
}

/// A plan while it is written.
#[derive(Debug)]
pub struct Emission {
    /// The plan's builder.
    pub plan: PlanBuilder,
    groups: Vec<Group>,
    /// The number of the next random stream.
    stream: u32,
    /// Of all randomness inside a step.
    seed: u64,
    /// Copies of gradients in the place of updates, if that is what the emission is for.
    witnesses: Option<Vec<Witness>>,
    routine: Routine,
}

/// What is known of the routine that is being written.
#[derive(Debug)]
struct Routine {
    id: RoutineId,
    /// The clock, and how many steps it counts in an epoch.
    clock: Option<(View, usize)>,
    /// The first random stream that it may draw from.
    first_stream: u32,
    /// Holds the notes, once there is one.
    buffer: Option<BufferId>,
    notes: Vec<Note>,
    /// Parameters' gradients that this turn has written.
    written: Vec<View>,
    /// Updates so far.
    turn: usize,
}

/// A copy of gradients, made where training would update their parameters.
#[derive(Clone, Copy, Debug)]
pub struct Witness {
    /// The buffer of the parameters.
    pub parameters: BufferId,
    /// Their gradients, at the same offsets.
    pub gradients: View,
    /// How many updates of the step come before it.
    pub turn: usize,
}

/// A routine that is written.
#[derive(Debug)]
pub struct Emitted {
    /// The routine.
    pub routine: RoutineId,
    /// What each of its steps notes.
    pub notes: Vec<Note>,
}

impl Emission {
    /// The emission of a plan, with the seed of all randomness inside a step.
    pub fn new(plan: PlanBuilder, seed: u64) -> Emission {
        Emission {
            plan,
            groups: Vec::new(),
            stream: FIRST_FREE_STREAM,
            seed,
            witnesses: None,
            routine: Routine::new(RoutineId(0), None, FIRST_FREE_STREAM),
        }
    }

    /// The emission of a plan that computes gradients and leaves parameters as they are: where
    /// training would update parameters, it copies their gradients to where the host reads them.
    pub fn of_gradients(plan: PlanBuilder, seed: u64) -> Emission {
        Emission {
            witnesses: Some(Vec::new()),
            ..Emission::new(plan, seed)
        }
    }

    /// Those copies so far.
    pub fn witnesses(&self) -> &[Witness] {
        self.witnesses.as_deref().unwrap_or(&[])
    }

    /// Lets [`Emitter::update`] of the group's parameters append the group's optimiser.
    pub fn add_group(&mut self, group: Group) {
        self.groups.push(group);
    }

    /// The groups so far, with the optimisers' state.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Begins a routine.
    pub fn begin(&mut self, name: &str, mode: Mode) -> Emitter<'_> {
        self.start(name, mode, None)
    }

    /// Begins a routine of which each run is one of `steps` steps, counted by `clock`, that may note
    /// values.
    pub fn begin_step(&mut self, name: &str, mode: Mode, clock: View, steps: usize) -> Emitter<'_> {
        self.start(name, mode, Some((clock, steps)))
    }

    /// Lets the next routine draw the random numbers that the last one has drawn.
    pub fn rewind(&mut self) {
        self.stream = self.routine.first_stream;
    }

    fn start(&mut self, name: &str, mode: Mode, clock: Option<(View, usize)>) -> Emitter<'_> {
        let id = self.plan.begin(name);
        self.routine = Routine::new(id, clock, self.stream);
        Emitter {
            emission: self,
            layer: String::new(),
            pass: Pass::Input,
            mode,
        }
    }
}

impl Routine {
    fn new(id: RoutineId, clock: Option<(View, usize)>, first_stream: u32) -> Routine {
        Routine {
            id,
            clock,
            first_stream,
            buffer: None,
            notes: Vec::new(),
            written: Vec::new(),
            turn: 0,
        }
    }
}

/// Appends launches to a routine, in the name of a layer and a pass.
#[derive(Debug)]
pub struct Emitter<'a> {
    emission: &'a mut Emission,
    layer: String,
    pass: Pass,
    mode: Mode,
}

impl Emitter<'_> {
    /// The same emitter in the name of a layer and a pass.
    pub fn at(&mut self, layer: &str, pass: Pass) -> Emitter<'_> {
        Emitter {
            layer: layer.to_owned(),
            pass,
            mode: self.mode,
            emission: self.emission,
        }
    }

    /// The same emitter, for a shorter while.
    pub fn reborrow(&mut self) -> Emitter<'_> {
        Emitter {
            layer: self.layer.clone(),
            pass: self.pass,
            mode: self.mode,
            emission: self.emission,
        }
    }

    /// The same emitter for layers that are not trained: they use their running statistics and leave
    /// them as they are.
    pub fn frozen(&mut self) -> Emitter<'_> {
        Emitter {
            mode: Mode::Evaluation,
            ..self.reborrow()
        }
    }

    /// Whether layers train or evaluate.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Appends a launch. `part` tells it from the layer's other launches in this pass.
    ///
    /// Panics if the kernel writes a view that it also touches otherwise.
    pub fn launch(&mut self, part: &'static str, kernel: impl Kernel) {
        let label = Label {
            layer: self.layer.clone(),
            pass: self.pass,
            part,
        };
        self.emission.plan.launch(label, kernel);
    }

    fn named(&self, what: &str) -> String {
        if self.layer.is_empty() {
            what.to_owned()
        } else {
            format!("{}.{what}", self.layer)
        }
    }

    /// A new `[rows, cols]` matrix that lives in this routine, named after the layer.
    pub fn matrix(&mut self, what: &str, rows: usize, cols: usize) -> Matrix {
        self.reals(what, rows * cols).matrix(rows, cols)
    }

    /// New reals that live in this routine.
    pub fn reals(&mut self, what: &str, len: usize) -> View {
        let name = self.named(what);
        self.emission.plan.temporary(name, len)
    }

    /// New indices that live in this routine.
    pub fn indices(&mut self, what: &str, len: usize) -> View {
        let name = self.named(what);
        self.emission.plan.temporary_indices(name, len)
    }

    /// Keeps a view's contents after the routine, for the host to read.
    pub fn keep(&mut self, view: View) {
        self.emission.plan.keep(view);
    }

    /// Zeros that no launch changes.
    pub fn zeros(&mut self, len: usize) -> View {
        self.emission.plan.zeros(len)
    }

    /// Appends parameters' gradients: `emit` appends the launches that write them to the views it is
    /// given. The first gradient of a turn is written where it belongs; a later one, of a parameter
    /// that is used twice, is written elsewhere and added. Returns those views.
    pub fn learn<const N: usize>(
        &mut self,
        parameters: [Parameter; N],
        emit: impl FnOnce(&mut Self, [View; N]),
    ) -> [View; N] {
        let gradients = parameters.map(|parameter| parameter.gradient);
        let known = gradients.map(|view| self.emission.routine.written.contains(&view));
        let mut written = gradients;
        for (view, known) in written.iter_mut().zip(known) {
            if known {
                *view = self.reals("another gradient", view.len);
            } else {
                self.emission.routine.written.push(*view);
            }
        }
        emit(self, written);
        for (x, y) in written.into_iter().zip(gradients) {
            if x != y {
                self.launch(SUM_OVER_USES, Add { x, y });
            }
        }
        written
    }

    /// The number of a random stream; no other call returns the same one.
    pub fn stream(&mut self) -> u32 {
        self.emission.stream += 1;
        self.emission.stream - 1
    }

    /// The seed of all randomness inside a step.
    pub fn seed(&self) -> u64 {
        self.emission.seed
    }

    /// The clock `[position, step]`.
    ///
    /// Panics if the routine has none.
    pub fn clock(&self) -> View {
        self.steps().0
    }

    fn steps(&self) -> (View, usize) {
        let clock = self.emission.routine.clock;
        clock.expect("the routine was begun with a clock")
    }

    /// A new value `[steps]` for every step to note, at the clock's position. The loss is the sum of
    /// the values times their weights.
    ///
    /// Panics if the routine has no clock, or a note of that name.
    pub fn note(&mut self, name: &str, unit: Unit, weight: f64) -> View {
        let (_, steps) = self.steps();
        let Emission { plan, routine, .. } = &mut *self.emission;
        let buffer = *routine.buffer.get_or_insert_with(|| {
            let name = format!("{}.notes", plan.name(routine.id));
            plan.growable(name)
        });
        let known = routine.notes.iter().any(|note| note.name == name);
        assert!(!known, "two notes are called `{name}`");
        let values = plan.grow(buffer, steps);
        routine.notes.push(Note {
            name: name.to_owned(),
            unit,
            weight,
            turn: routine.turn,
            values,
        });
        values
    }

    /// Ends a turn: appends the update of these parameters by their gradients, if they are in a group,
    /// and lets the next turn write all gradients anew.
    pub fn update(&mut self, parameters: &Parameters) {
        if self.emission.witnesses.is_some() {
            self.witness(parameters);
        }
        let groups = self.emission.groups.iter();
        let of_these = |group: &&Group| group.parameters == parameters.values;
        if let Some(group) = groups.clone().find(of_these).cloned() {
            let clock = self.clock();
            group.update(&mut self.at(&group.name, Pass::Update), clock);
        }
        self.emission.routine.turn += 1;
        self.emission.routine.written.clear();
    }

    fn witness(&mut self, parameters: &Parameters) {
        let x = self.emission.plan.whole(parameters.gradients);
        if x.len == 0 {
            return;
        }
        let name = format!("{}gradients, copied", parameters.name);
        let y = self.emission.plan.persistent(name, Element::Real, x.len);
        self.at("gradients", Pass::Update)
            .launch("copy", Copy { x, y });
        let witness = Witness {
            parameters: parameters.values,
            gradients: y,
            turn: self.emission.routine.turn,
        };
        self.emission
            .witnesses
            .as_mut()
            .expect("asked for")
            .push(witness);
    }

    /// The routine, written.
    pub fn end(self) -> Emitted {
        Emitted {
            routine: self.emission.routine.id,
            notes: std::mem::take(&mut self.emission.routine.notes),
        }
    }
}
