//! Sampling from the normal distributions that an encoder describes.

use super::Layer;
use crate::buffer::Matrix;
use crate::emit::{Emitter, Gradient};
use crate::kernels::gaussian::{Mean, Sample, SampleBackward};
use crate::plan::Pass;

/// From q = (μ, ln σ²), `[N, 2d]`, to z = μ + σ n, `[N, d]`, n standard normal.
#[derive(Clone, Debug)]
pub struct GaussianSample {
    /// Its name in the plan.
    pub name: String,
}

/// What [`GaussianSample`] saves.
#[derive(Debug)]
pub struct Saved {
    q: Matrix,
    noise: Matrix,
}

impl GaussianSample {
    /// Appends z = μ.
    pub fn mean(&self, e: &mut Emitter, q: Matrix) -> Matrix {
        let e = &mut e.at(&self.name, Pass::Forward);
        let z = e.matrix("mean", q.rows, q.cols / 2);
        e.launch("mean", Mean { q, z });
        z
    }
}

impl Layer for GaussianSample {
    type Saved = Saved;

    fn forward(&self, e: &mut Emitter, q: Matrix) -> (Matrix, Saved) {
        let e = &mut e.at(&self.name, Pass::Forward);
        let [z, noise] = ["z", "noise"].map(|what| e.matrix(what, q.rows, q.cols / 2));
        let (clock, seed, stream) = (e.clock(), e.seed(), e.stream());
        e.launch(
            "",
            Sample {
                q,
                clock,
                z,
                noise,
                seed,
                stream,
            },
        );
        (z, Saved { q, noise })
    }

    fn backward(&self, e: &mut Emitter, saved: Saved, dz: Gradient) -> Gradient {
        let e = &mut e.at(&self.name, Pass::Backward);
        let Saved { q, noise } = saved;
        let (dz, dq) = (dz.matrix(), e.matrix("dq", q.rows, q.cols));
        e.launch("", SampleBackward { q, noise, dz, dq });
        Gradient::new(dq)
    }
}
