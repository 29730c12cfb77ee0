//! Softmax cross-entropy with integer labels, and the labels of a batch.
//!
//! ```text
//! p[r, c]  = e^y[r, c] / Σ_k e^y[r, k]
//! loss     = Σ_r −ln p[r, label r] / L        over the L rows that have a label
//! error    = (rows whose largest y is not their label's) / L
//! dy[r, c] = w (p[r, c] − [c = label r]) / L  and 0 in rows without a label
//!
//! y, dy [N, classes];  labels [N], u32::MAX where there is none
//! partial [⌈N / ROWS⌉, 3]: loss, labelled rows and errors of a block of rows
//! losses, errors [steps], written at the clock's position;  labelled [1] = L
//! ```
//! The largest logit is subtracted before the exponential, which therefore cannot overflow. Without any
//! label, loss, error and gradient are 0. Of equal logits the first counts as the largest.

use super::parallel::{chunks_of, each_part};
use super::{Dispatch, Kernel, linear_groups, shader};
use crate::buffer::{Cost, Matrix, Operand, View};
use crate::kernels::host::Memory;
use crate::scalar::Scalar;

/// The definition: one row at a time, in f64.
pub mod definition {
    /// The probability of each class.
    pub fn probabilities(y: &[f64]) -> Vec<f64> {
        let largest = y
            .iter()
            .fold(f64::NEG_INFINITY, |a, &b| if b > a { b } else { a });
        let powers: Vec<f64> = y.iter().map(|y| (y - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    }

    /// A row's loss.
    pub fn loss(y: &[f64], label: usize) -> f64 {
        -probabilities(y)[label].ln()
    }

    /// The gradient of a row's loss by its logits.
    pub fn gradient(y: &[f64], label: usize) -> Vec<f64> {
        let mut dy = probabilities(y);
        dy[label] -= 1.0;
        dy
    }

    /// Whether the row's largest logit is not its label's.
    pub fn is_wrong(y: &[f64], label: usize) -> bool {
        let mut largest = 0;
        for class in 1..y.len() {
            if y[class] > y[largest] {
                largest = class;
            }
        }
        largest != label
    }
}

/// The label of a row that has none.
pub const UNLABELLED: u32 = u32::MAX;

/// Rows of a block of the first pass.
pub const ROWS: usize = 64;

/// Reals that [`Partial`] writes for so many rows.
pub fn partial_len(rows: usize) -> usize {
    3 * rows.div_ceil(ROWS)
}

/// `batch[r] = labels[order[position · R + r]]`: the labels of the rows that
/// [`Gather`](super::gather::Gather) takes.
#[derive(Clone, Debug)]
pub struct GatherLabels {
    /// Indices, at least `(position + 1) · R` of them.
    pub order: View,
    /// `[position, step]`
    pub clock: View,
    /// `[count]`
    pub labels: View,
    /// `[R]`
    pub batch: View,
}

impl Kernel for GatherLabels {
    const NAME: &'static str = "gather_labels";
    const SHADER: &'static str = shader!([] "shared/element", "gather_labels");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("order", self.order),
            Operand::read("clock", self.clock),
            Operand::read("labels", self.labels),
            Operand::write("batch", self.batch),
        ]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn cost(&self) -> Cost {
        let rows = self.batch.len as u64;
        Cost {
            flops: 0,
            read: 4 * (2 * rows + self.clock.len as u64),
            written: 4 * rows,
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let reads = [self.order, self.clock, self.labels];
        let ([order, clock, labels], [batch]) = memory.index.access(reads, [self.batch]);
        let order = &order[clock[0] as usize * batch.len()..];
        for (label, &image) in batch.iter_mut().zip(order) {
            *label = labels[image as usize];
        }
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.batch.len as u32],
            groups: linear_groups(self.batch.len),
        }
    }
}

/// The largest element and Σ eˣ⁻ˡᵃʳᵍᵉˢᵗ.
#[inline(always)]
fn largest_and_sum<T: Scalar>(y: &[T]) -> (T, T) {
    // Not `max`, which would turn a NaN into a number and hide it.
    let largest = y.iter().fold(y[0], |a, &b| if b > a { b } else { a });
    let powers = y.iter().map(|&y| (y - largest).exponential());
    (largest, powers.sum())
}

/// First pass: each block's loss, labelled rows and errors.
#[derive(Clone, Debug)]
pub struct Partial {
    /// `[N, classes]`
    pub logits: Matrix,
    /// `[N]`
    pub labels: View,
    /// `[⌈N / ROWS⌉, 3]`
    pub partial: View,
}

impl Kernel for Partial {
    const NAME: &'static str = "softmax_partial";
    const SHADER: &'static str = shader!([ROWS = ROWS, UNLABELLED = UNLABELLED] "softmax_partial");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("logits", self.logits),
            Operand::read("labels", self.labels),
            Operand::write("partial", self.partial),
        ]
    }

    fn flops(&self) -> u64 {
        4 * self.logits.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let classes = self.logits.cols;
        let labels = memory.index.read(self.labels);
        let ([logits], [partial]) = memory.real.access([self.logits.view], [self.partial]);
        each_part(&memory.team, chunks_of(partial, 3), |_, block, partial| {
            let rows = block * ROWS..labels.len().min((block + 1) * ROWS);
            let mut sums = [T::zero(); 3];
            for row in rows.filter(|&row| labels[row] != UNLABELLED) {
                let y = &logits[row * classes..][..classes];
                let label = labels[row] as usize;
                let (largest, sum) = largest_and_sum(y);
                let first = y.iter().position(|&y| y == largest);
                sums[0] += largest - y[label] + sum.ln();
                sums[1] += T::one();
                sums[2] += if first == Some(label) {
                    T::zero()
                } else {
                    T::one()
                };
            }
            partial.copy_from_slice(&sums);
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.logits.rows as u32, self.logits.cols as u32],
            // One work-group per block.
            groups: linear_groups(self.partial.len / 3 * super::GROUP),
        }
    }
}

/// Second pass: the mean loss and the error, noted at the clock's position, and the number of labels.
#[derive(Clone, Debug)]
pub struct Finish {
    /// From [`Partial`].
    pub partial: View,
    /// `[position, step]`
    pub clock: View,
    /// `[steps]`
    pub losses: View,
    /// `[steps]`
    pub errors: View,
    /// `[1]`
    pub labelled: View,
}

impl Kernel for Finish {
    const NAME: &'static str = "softmax_finish";
    const SHADER: &'static str = shader!("softmax_finish");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("partial", self.partial),
            Operand::read("clock", self.clock),
            Operand::update("losses", self.losses),
            Operand::update("errors", self.errors),
            Operand::write("labelled", self.labelled),
        ]
    }

    fn flops(&self) -> u64 {
        self.partial.len as u64 + 2
    }

    fn cost(&self) -> Cost {
        Cost {
            flops: self.flops(),
            read: 4 * (self.partial.len + self.clock.len) as u64,
            written: 3 * 4, // one of the losses, one of the errors, and the number of labels
        }
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let position = memory.index.read(self.clock)[0] as usize;
        let ([partial], [losses, errors, labelled]) = memory
            .real
            .access([self.partial], [self.losses, self.errors, self.labelled]);
        let mut sums = [T::zero(); 3];
        for block in partial.chunks_exact(3) {
            for (sum, &part) in sums.iter_mut().zip(block) {
                *sum += part;
            }
        }
        let [loss, count, wrong] = sums;
        let divisor = if count > T::zero() { count } else { T::one() };
        losses[position] = loss / divisor;
        errors[position] = wrong / divisor;
        labelled[0] = count;
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![(self.partial.len / 3) as u32],
            groups: [1, 1, 1],
        }
    }
}

/// The gradient of the mean loss by the logits.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// `[N, classes]`
    pub logits: Matrix,
    /// `[N]`
    pub labels: View,
    /// `[1]`, from [`Finish`]
    pub labelled: View,
    /// `[N, classes]`
    pub dy: Matrix,
    /// w: how much of the loss counts.
    pub weight: f64,
}

impl Kernel for Gradient {
    const NAME: &'static str = "softmax_gradient";
    const SHADER: &'static str =
        shader!([UNLABELLED = UNLABELLED] "shared/element", "softmax_gradient");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("logits", self.logits),
            Operand::read("labels", self.labels),
            Operand::read("labelled", self.labelled),
            Operand::write("dy", self.dy),
        ]
    }

    fn flops(&self) -> u64 {
        6 * self.logits.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let classes = self.logits.cols;
        let labels = memory.index.read(self.labels);
        let reads = [self.logits.view, self.labelled];
        let ([logits, labelled], [dy]) = memory.real.access(reads, [self.dy.view]);
        let scale = T::of(self.weight) / labelled[0];
        each_part(
            &memory.team,
            chunks_of(dy, ROWS * classes),
            |_, block, dy| {
                for (place, dy) in dy.chunks_exact_mut(classes).enumerate() {
                    let row = block * ROWS + place;
                    if labels[row] == UNLABELLED {
                        dy.fill(T::zero());
                        continue;
                    }
                    let y = &logits[row * classes..][..classes];
                    let (largest, sum) = largest_and_sum(y);
                    for (dy, &y) in dy.iter_mut().zip(y) {
                        *dy = (y - largest).exponential() / sum * scale;
                    }
                    dy[labels[row] as usize] -= scale;
                }
            },
        );
    }

    fn gpu(&self) -> Dispatch {
        let [rows, classes] = [self.logits.rows, self.logits.cols];
        Dispatch {
            constants: vec![],
            dims: vec![rows as u32, classes as u32, (self.weight as f32).to_bits()],
            groups: linear_groups(rows),
        }
    }
}

/// `y = softmax(logits)`, row by row.
#[derive(Clone, Debug)]
pub struct Probabilities {
    /// `[N, classes]`
    pub logits: Matrix,
    /// `[N, classes]`
    pub y: Matrix,
}

impl Kernel for Probabilities {
    const NAME: &'static str = "softmax";
    const SHADER: &'static str = shader!([] "shared/element", "softmax");

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("logits", self.logits),
            Operand::write("y", self.y),
        ]
    }

    fn flops(&self) -> u64 {
        4 * self.logits.view.len as u64
    }

    fn cpu<T: Scalar>(&self, memory: &mut Memory<T>) {
        let classes = self.logits.cols;
        let ([logits], [y]) = memory.real.access([self.logits.view], [self.y.view]);
        each_part(&memory.team, chunks_of(y, ROWS * classes), |_, block, y| {
            let rows = logits[block * ROWS * classes..].chunks_exact(classes);
            for (y, logits) in y.chunks_exact_mut(classes).zip(rows) {
                let (largest, sum) = largest_and_sum(logits);
                for (y, &logit) in y.iter_mut().zip(logits) {
                    *y = (logit - largest).exponential() / sum;
                }
            }
        });
    }

    fn gpu(&self) -> Dispatch {
        Dispatch {
            constants: vec![],
            dims: vec![self.logits.rows as u32, self.logits.cols as u32],
            groups: linear_groups(self.logits.rows),
        }
    }
}
