//! How to write a layer outside the crate: a residual connection, y = x + inner(x). Its forward pass forks
//! x and sums; its backward pass sums the two gradients of x. The example checks the gradient against
//! finite differences.
//!
//! ```text
//! cargo run --release --example own_layer
//! ```

use diabolo::buffer::Matrix;
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::emit::{Emitter, Gradient};
use diabolo::gradcheck::{Case, Named, check};
use diabolo::kernels::elementwise::{Add, Copy};
use diabolo::layers::{Dense, Layer};
use diabolo::plan::Pass;

/// y = x + inner(x), all of one shape.
#[derive(Debug)]
struct Residual<L> {
    name: &'static str,
    inner: L,
}

impl<L: Layer> Layer for Residual<L> {
    /// The sum itself needs nothing in its backward pass.
    type Saved = L::Saved;

    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, L::Saved) {
        let (inner, saved) = self.inner.forward(e, x);
        let e = &mut e.at(self.name, Pass::Forward);
        // x and inner(x) are activations, which no launch may overwrite: the sum needs a matrix of its own.
        let y = e.matrix("y", x.rows, x.cols);
        e.launch(
            "copy",
            Copy {
                x: x.view,
                y: y.view,
            },
        );
        e.launch(
            "add",
            Add {
                x: inner.view,
                y: y.view,
            },
        );
        (y, saved)
    }

    fn backward(&self, e: &mut Emitter, saved: L::Saved, dy: Gradient) -> Gradient {
        // The forward summed, so the backward copies dy; the forward forked x, so the backward sums.
        let (straight, inner) = dy.fork(e);
        let dx = self.inner.backward(e, saved, inner);
        straight.plus(e, dx)
    }
}

fn main() -> Result<(), diabolo::Error> {
    let (rows, width) = (5, 4);
    let case = Case::layer(
        "residual",
        "residual".to_owned(),
        &[rows, width],
        |plan, parameters| {
            let inner = Dense::new(plan, parameters, "dense", [width, width], 1.0);
            Residual {
                name: "residual",
                inner,
            }
        },
    );
    let device = Named {
        name: "cpu-f64".to_owned(),
        backend: Backend::CpuDouble(Cpu::<f64>::team(1)?),
    };
    let rows = check(&case, 0, None, &[device])?;
    for row in &rows {
        let (error, allowed) = (row.max_rel_error, row.tolerance);
        println!(
            "{:<14} off by {error:.1e} at most, allowed {allowed:.0e}",
            row.quantity
        );
    }
    assert!(rows.iter().all(|row| row.pass), "the gradient is wrong");
    Ok(())
}
