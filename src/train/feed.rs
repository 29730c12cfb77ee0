//! Feeds: where the rows of a step come from.

use crate::buffer::View;
use crate::emit::Emitter;
use crate::image::ImageShape;
use crate::kernels::gather::{Gather, Noise};
use crate::kernels::softmax::GatherLabels;
use crate::models::Batch;
use crate::plan::Pass;

/// Images on the device, in the order in which steps take them.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// Their values, bytes.
    pub images: View,
    /// Their labels; `u32::MAX` where an image has none. None if no step reads labels.
    pub labels: Option<View>,
    /// Which image each row of each step is.
    pub order: View,
    /// One image.
    pub image: ImageShape,
    /// What is done to them.
    pub noise: Noise,
}

impl Feed {
    /// Appends the gathering of the next `rows` rows.
    pub fn batch(&self, e: &mut Emitter, rows: usize) -> Batch {
        let clock = e.clock();
        let features = self.image.features();
        let clean = e.matrix("clean", rows, features);
        let noisy = e.matrix("noisy", rows, features);
        let gather = Gather {
            images: self.images,
            order: self.order,
            clock,
            image: self.image,
            clean,
            noisy,
            noise: self.noise,
        };
        e.at("gather", Pass::Input).launch("", gather);
        let labels = self.labels.map(|labels| {
            let batch = e.indices("labels", rows);
            let order = self.order;
            let gather = GatherLabels {
                order,
                clock,
                labels,
                batch,
            };
            e.at("gather", Pass::Input).launch("labels", gather);
            batch
        });
        Batch {
            clean,
            noisy,
            labels,
        }
    }
}
