//! Judges: how good is a representation, from few labels?
//!
//! Draws are nested: the first N images of a draw's permutation are its draw of N. Every judge sees
//! every representation with the same draws, so that the gain of one over another is a paired
//! difference, draw by draw.

use crate::data::DataError;
use crate::data::Dataset;
use crate::data::draws::{Sampling, nested_draws};
use crate::device::Backend;
use crate::progress::{Tick, part};
use crate::train::TrainError;

use super::{Draws, Measurement, Origin, Rows};

/// Rows of the training and of the test images, under a name: pixels, features, principal components.
#[derive(Clone, Copy)]
pub struct Representation<'a> {
    /// The name in [`Measurement::representation`](super::Measurement::representation).
    pub name: &'a str,
    /// A row for each training image.
    pub train: &'a dyn Rows,
    /// A row for each test image, as wide.
    pub test: &'a dyn Rows,
}

/// The classes of the images.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Of each training image. A judge looks only at those that a draw names.
    pub train: &'a [u8],
    /// Of each test image. A judge compares its predictions with them, and nothing else.
    pub test: &'a [u8],
    /// How many classes there are.
    pub classes: usize,
}

impl<'a> From<&'a Dataset> for Labels<'a> {
    fn from(data: &'a Dataset) -> Self {
        Labels {
            train: &data.train_labels,
            test: &data.test_labels,
            classes: data.classes,
        }
    }
}

/// What a judge says of one draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The judge's name, with its settings.
    pub judge: String,
    /// Labelled images that it saw.
    pub labels: usize,
    /// Which draw, from 0.
    pub draw: usize,
    /// The part of the test images that it gets right.
    pub value: f64,
}

/// A way to classify test images from a few labelled training images.
pub trait Judge {
    /// Classifies all test images from every draw of each of the `groups`, in every size.
    ///
    /// `tick` hears of the work, and may stop it.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if rows cannot be read, the device fails, or the work is stopped.
    fn judge(
        &self,
        backend: &Backend,
        representation: Representation<'_>,
        labels: Labels<'_>,
        groups: &[Draws],
        tick: &mut Tick<'_>,
    ) -> Result<Vec<Judgement>, TrainError>;
}

/// Which labelled images the judges see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FewLabel {
    /// Numbers of labelled images, ascending; a number as large as the training set is drawn once.
    pub labels: Vec<usize>,
    /// Draws of each.
    pub draws: usize,
    /// How they are drawn.
    pub sampling: Sampling,
    /// Decides the draws.
    pub seed: u64,
}

impl FewLabel {
    /// The draws: a group of many and, where all labels are asked for, a group of one draw with
    /// everything.
    ///
    /// # Errors
    ///
    /// [`DataError`] if there are not as many labels as would be drawn.
    pub fn groups(&self, labels: Labels<'_>) -> Result<Vec<Draws>, DataError> {
        let all = labels.train.len();
        let few: Vec<usize> = self.labels.iter().copied().filter(|&n| n != all).collect();
        let mut groups = Vec::new();
        if !few.is_empty() {
            let lists = nested_draws(
                labels.train,
                labels.classes,
                &few,
                self.draws,
                self.sampling,
                self.seed,
            )?;
            groups.push(Draws { lists, sizes: few });
        }
        if self.labels.contains(&all) {
            groups.push(Draws {
                lists: vec![(0..all as u32).collect()],
                sizes: vec![all],
            });
        }
        Ok(groups)
    }
}

/// Every judge on every representation, all on the same draws; `origin` says what
/// was trained. `tick` hears of the work, and may stop it.
///
/// # Errors
///
/// [`TrainError`] if there are not as many labels as would be drawn, rows cannot be read, the device
/// fails, or the work is stopped.
pub fn few_label(
    backend: &Backend,
    judges: &[&dyn Judge],
    representations: &[Representation<'_>],
    labels: Labels<'_>,
    setting: &FewLabel,
    origin: &Origin,
    tick: &mut Tick<'_>,
) -> Result<Vec<Measurement>, TrainError> {
    let groups = setting.groups(labels)?;
    let mut measured = Vec::new();
    if groups.is_empty() {
        return Ok(measured);
    }
    let parts = (judges.len() * representations.len()) as f64;
    let mut done = 0.0;
    for judge in judges {
        for &representation in representations {
            let mut tick = part(tick, done / parts, (done + 1.0) / parts);
            let said = judge.judge(backend, representation, labels, &groups, &mut tick)?;
            measured.extend(said.into_iter().map(|judgement| Measurement {
                labels: Some(judgement.labels),
                draw: Some(judgement.draw),
                ..origin.measured(representation.name, judgement.judge, judgement.value)
            }));
            done += 1.0;
        }
    }
    Ok(measured)
}
