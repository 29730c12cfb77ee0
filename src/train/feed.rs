//! Feeds: where the rows of a step come from.

use crate::buffer::{Matrix, View};
use crate::emit::Emitter;
use crate::image::ImageShape;
use crate::kernels::gather::{Gather, GatherRows, Noise};
use crate::kernels::softmax::GatherLabels;
use crate::models::Batch;
use crate::plan::Pass;

/// Where a feed's rows lie on the device.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Images: bytes `[count, H·W·C]`, which a batch has in [0, 1].
    Images(View, ImageShape),
    /// Rows of reals `[count, F]`: features, say, that another model made.
    Rows(Matrix),
}

/// Rows on the device, in the order in which steps take them. A step may take from several feeds.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// Their values.
    pub source: Source,
    /// Their labels; `u32::MAX` where a row has none. None if no step reads labels.
    pub labels: Option<View>,
    /// Which row of the source each row of each step is, `[steps · rows]`.
    pub order: View,
    /// What is done to them; rows of reals cannot be distorted.
    pub noise: Noise,
}

impl Feed {
    /// Where its values lie: bytes of images, or reals.
    pub fn values(&self) -> View {
        match self.source {
            Source::Images(images, _) => images,
            Source::Rows(values) => values.view,
        }
    }

    /// Appends the gathering of the next `rows` rows. `name` tells the feeds of a step apart.
    pub fn batch(&self, e: &mut Emitter, name: &str, rows: usize) -> Batch {
        let e = &mut e.at(name, Pass::Input);
        let (clock, order, noise) = (e.clock(), self.order, self.noise);
        let features = match self.source {
            Source::Images(_, image) => image.features(),
            Source::Rows(values) => values.cols,
        };
        let [clean, noisy] = ["clean", "noisy"].map(|what| e.matrix(what, rows, features));
        match self.source {
            Source::Images(images, image) => e.launch(
                "",
                Gather {
                    images,
                    order,
                    clock,
                    image,
                    clean,
                    noisy,
                    noise,
                },
            ),
            Source::Rows(values) => e.launch(
                "",
                GatherRows {
                    values,
                    order,
                    clock,
                    clean,
                    noisy,
                    noise,
                },
            ),
        }
        let labels = self.labels.map(|labels| {
            let batch = e.indices("labels", rows);
            let gather = GatherLabels {
                order,
                clock,
                labels,
                batch,
            };
            e.launch("labels", gather);
            batch
        });
        Batch {
            clean,
            noisy,
            labels,
        }
    }
}
