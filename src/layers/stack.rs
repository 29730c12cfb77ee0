//! Layers one after the other.

use std::any::Any;

use super::Layer;
use crate::buffer::Matrix;
use crate::emit::{Emitter, Gradient};

/// A layer whose `Saved` is boxed, so that layers of all types fit into one list. Every [`Layer`] has it.
trait Link: std::fmt::Debug + Send + Sync {
    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Box<dyn Any>);
    fn backward(&self, e: &mut Emitter, saved: Box<dyn Any>, dy: Gradient) -> Gradient;
}

impl<L: Layer> Link for L {
    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Box<dyn Any>) {
        let (y, saved) = Layer::forward(self, e, x);
        (y, Box::new(saved))
    }

    fn backward(&self, e: &mut Emitter, saved: Box<dyn Any>, dy: Gradient) -> Gradient {
        let saved = saved.downcast().expect("what this layer's forward saved");
        Layer::backward(self, e, *saved, dy)
    }
}

/// A sequence of layers; backward visits them last to first.
#[derive(Debug, Default)]
pub struct Stack(Vec<Box<dyn Link>>);

impl Stack {
    /// Appends a layer.
    pub fn push(&mut self, layer: impl Layer + 'static) {
        self.0.push(Box::new(layer));
    }
}

impl Layer for Stack {
    type Saved = Vec<Box<dyn Any>>;

    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Self::Saved) {
        let mut saved = Vec::with_capacity(self.0.len());
        let y = self.0.iter().fold(x, |x, layer| {
            let (y, of_layer) = layer.forward(e, x);
            saved.push(of_layer);
            y
        });
        (y, saved)
    }

    fn backward(&self, e: &mut Emitter, saved: Self::Saved, dy: Gradient) -> Gradient {
        let layers = self.0.iter().zip(saved).rev();
        layers.fold(dy, |dy, (layer, saved)| layer.backward(e, saved, dy))
    }
}
