//! A U-Net: activations that two layers read.

use diabolo::buffer::Matrix;
use diabolo::emit::{Emission, Emitter, Parameters};
use diabolo::gradcheck::Case;
use diabolo::kernels::loss::Loss;
use diabolo::kernels::upsample::Enlargement;
use diabolo::kernels::{Activation, Window};
use diabolo::layers::{BatchNorm, Conv2d, Join, Layer, MaxPool2d, Stack, Upsample2d};
use diabolo::objective::{Per, reconstruction};
use diabolo::plan::PlanBuilder;

use super::{ROWS, checked, input};

/// A 3×3 convolution that keeps the size of its images, with batch norm and an activation.
fn block(
    plan: &mut PlanBuilder,
    parameters: &mut Parameters,
    name: &str,
    side: usize,
    channels: [usize; 2],
) -> Stack {
    let window = Window {
        size: [side; 2],
        kernel: [3; 2],
        stride: [1; 2],
        padding: [1; 2],
        dilation: [1; 2],
    };
    let mut stack = Stack::default();
    let conv = format!("{name}.conv");
    stack.push(Conv2d::new(plan, parameters, &conv, window, channels, 2.0));
    let norm = format!("{name}.norm");
    let activation = Activation::Softplus;
    stack.push(BatchNorm::new(
        plan,
        parameters,
        &norm,
        channels[1],
        activation,
    ));
    stack
}

/// A U-Net of two levels: each level's maps are read by the level below and, over a skip connection, by
/// the way back up.
struct UNet {
    down: [Stack; 2],
    pool: [MaxPool2d; 2],
    bottom: Stack,
    up: [Stack; 2],
    enlarge: [Upsample2d; 2],
    join: [Join; 2],
    last: Conv2d,
    parameters: Parameters,
}

impl UNet {
    const SIDE: usize = 8;

    fn new(plan: &mut PlanBuilder) -> UNet {
        let mut p = Parameters::new(plan);
        let sides = [UNet::SIDE, UNet::SIDE / 2];
        let halving = |side| Window {
            size: [side; 2],
            kernel: [2; 2],
            stride: [2; 2],
            padding: [0; 2],
            dilation: [1; 2],
        };
        let pointwise = Window {
            size: [UNet::SIDE; 2],
            kernel: [1; 2],
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
        };
        UNet {
            down: [
                block(plan, &mut p, "down.0", sides[0], [1, 2]),
                block(plan, &mut p, "down.1", sides[1], [2, 3]),
            ],
            pool: [0, 1].map(|level| MaxPool2d {
                name: format!("pool.{level}"),
                window: halving(sides[level]),
            }),
            bottom: block(plan, &mut p, "bottom", 2, [3, 3]),
            up: [
                block(plan, &mut p, "up.0", sides[0], [2 + 3, 2]),
                block(plan, &mut p, "up.1", sides[1], [3 + 3, 3]),
            ],
            enlarge: [0, 1].map(|level| Upsample2d {
                name: format!("enlarge.{level}"),
                enlargement: Enlargement {
                    size: [sides[level] / 2; 2],
                    factor: [2; 2],
                },
            }),
            join: [0, 1].map(|level| Join {
                name: format!("join.{level}"),
            }),
            last: Conv2d::new(plan, &mut p, "last", pointwise, [2, 1], 1.0),
            parameters: p,
        }
    }

    fn train(&self, e: &mut Emitter, x: Matrix, target: Matrix) {
        let (skip0, down0) = self.down[0].forward(e, x);
        let (h, pool0) = self.pool[0].forward(e, skip0);
        let (skip1, down1) = self.down[1].forward(e, h);
        let (h, pool1) = self.pool[1].forward(e, skip1);
        let (h, bottom) = self.bottom.forward(e, h);
        let (h, enlarge1) = self.enlarge[1].forward(e, h);
        let (h, join1) = self.join[1].forward(e, skip1, h);
        let (h, up1) = self.up[1].forward(e, h);
        let (h, enlarge0) = self.enlarge[0].forward(e, h);
        let (h, join0) = self.join[0].forward(e, skip0, h);
        let (h, up0) = self.up[0].forward(e, h);
        let (y, last) = self.last.forward(e, h);

        let dy = reconstruction(e, "loss", Loss::MeanSquaredError, Per::Element, y, target);

        let dh = self.last.backward(e, last, dy);
        let dh = self.up[0].backward(e, up0, dh);
        let [d_skip0, dh] = self.join[0].backward(e, join0, dh);
        let dh = self.enlarge[0].backward(e, enlarge0, dh);
        let dh = self.up[1].backward(e, up1, dh);
        let [d_skip1, dh] = self.join[1].backward(e, join1, dh);
        let dh = self.enlarge[1].backward(e, enlarge1, dh);
        let dh = self.bottom.backward(e, bottom, dh);
        let dh = self.pool[1].backward(e, pool1, dh).plus(e, d_skip1);
        let dh = self.down[1].backward(e, down1, dh);
        let dh = self.pool[0].backward(e, pool0, dh).plus(e, d_skip0);
        self.down[0].backward(e, down0, dh).unused();
        e.update(&self.parameters);
    }
}

#[test]
fn a_u_net_with_skip_connections_has_right_gradients() {
    let mut emission = Emission::of_gradients(PlanBuilder::new(), 0);
    let net = UNet::new(&mut emission.plan);
    let pixels = ROWS * UNet::SIDE * UNet::SIDE;
    let (x, of_x) = input(&mut emission, "noisy", pixels, 1);
    let (target, of_target) = input(&mut emission, "clean", pixels, 1);
    let inputs = vec![of_x, of_target];
    let parameters = net.parameters.clone();
    let case = Case::step(
        "u-net",
        "u-net".to_owned(),
        emission,
        &[&parameters],
        inputs,
        |e| net.train(e, x, target),
    );
    // Five blocks of a weight, γ and β, and the last weight.
    assert_eq!(checked(&case), 5 * 3 + 1);
}
