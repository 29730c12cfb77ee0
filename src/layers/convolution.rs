//! Convolution and transposed convolution, each with an activation fused behind it.

use super::{Layer, activate_backward, assert_fusible, sum_rows};
use crate::buffer::Matrix;
use crate::emit::{Emitter, Gradient, Init, Layout, Parameter, Parameters};
use crate::kernels::column_sum::ColumnSumFinish;
use crate::kernels::convolution::{Convolve, DataGradient, WeightGradient, weight_blocks};
use crate::kernels::{Activation, Window};
use crate::plan::{Pass, PlanBuilder};

/// What convolution and transposed convolution have in common.
#[derive(Clone, Debug)]
struct Filter {
    name: String,
    window: Window,
    /// Channels of the larger side.
    channels: usize,
    /// Channels of the smaller side.
    maps: usize,
    /// `[KH·KW·C, M]`
    weight: Parameter,
    bias: Option<Parameter>,
    activation: Activation,
}

impl Filter {
    fn new(
        plan: &mut PlanBuilder,
        parameters: &mut Parameters,
        name: &str,
        window: Window,
        [channels, maps]: [usize; 2],
        init: Init,
    ) -> Self {
        let weight = parameters.parameter(
            plan,
            format!("{name}.weight"),
            window.taps() * channels * maps,
            Layout::convolution(window.kernel, channels, maps),
            init,
        );
        Filter {
            name: name.to_owned(),
            window,
            channels,
            maps,
            weight,
            bias: None,
            activation: Activation::Identity,
        }
    }

    fn with_bias(
        self,
        plan: &mut PlanBuilder,
        parameters: &mut Parameters,
        outputs: usize,
        activation: Activation,
    ) -> Self {
        assert_fusible(&self.name, activation);
        let name = format!("{}.bias", self.name);
        let (layout, init) = (Layout::vector(outputs), Init::Constant(0.0));
        let bias = parameters.parameter(plan, name, outputs, layout, init);
        Filter {
            bias: Some(bias),
            activation,
            ..self
        }
    }

    fn weight(&self) -> Matrix {
        let rows = self.window.taps() * self.channels;
        self.weight.value.matrix(rows, self.maps)
    }

    /// A new matrix on the larger side, `[N·H·W, C]`.
    fn large(&self, e: &mut Emitter, what: &str, images: usize) -> Matrix {
        e.matrix(what, images * self.window.area(), self.channels)
    }

    /// A new matrix on the smaller side, `[N·OH·OW, M]`.
    fn small(&self, e: &mut Emitter, what: &str, images: usize) -> Matrix {
        e.matrix(what, images * self.window.map_area(), self.maps)
    }

    /// Appends `dz = dy · f′(y)` and the bias's gradient, its sum over rows. Returns dz.
    fn before_activation(&self, e: &mut Emitter, y: Matrix, dy: Gradient) -> Matrix {
        let dz = activate_backward(e, self.activation, y, dy);
        if let Some(bias) = self.bias {
            e.learn([bias], |e, [d_bias]| sum_rows(e, &dz, d_bias));
        }
        dz.matrix()
    }

    /// Appends d_weight from what lies on either side.
    fn weight_gradient(&self, e: &mut Emitter, large: Matrix, small: Matrix) {
        e.learn([self.weight], |e, [d_weight]| {
            let blocks = weight_blocks(small.rows, d_weight.len);
            let partial = e.matrix("d_weight.partial", blocks, d_weight.len);
            e.launch(
                "weight, blocks",
                WeightGradient {
                    window: self.window,
                    x: large,
                    dy: small,
                    partial,
                },
            );
            e.launch(
                "weight",
                ColumnSumFinish {
                    partial,
                    sum: d_weight,
                },
            );
        });
    }
}

/// What a convolution or a transposed convolution saves.
#[derive(Debug)]
pub struct Saved {
    x: Matrix,
    y: Matrix,
}

/// `y = f(conv(x) + bias)`, from `[N·H·W, C]` to `[N·OH·OW, M]`: PyTorch's `Conv2d`.
///
/// Before a batch norm it has no bias: the norm subtracts the mean, and the bias with it.
#[derive(Clone, Debug)]
pub struct Conv2d(Filter);

impl Conv2d {
    /// Declares `{name}.weight`, from `channels` to `maps` channels, as in He et al. with the given
    /// gain.
    pub fn new(
        plan: &mut PlanBuilder,
        parameters: &mut Parameters,
        name: &str,
        window: Window,
        [channels, maps]: [usize; 2],
        gain: f64,
    ) -> Self {
        let fan_in = window.taps() * channels;
        let init = Init::Normal { gain, fan_in };
        let channels = [channels, maps];
        Conv2d(Filter::new(plan, parameters, name, window, channels, init))
    }

    /// Adds a bias, `{name}.bias`, and an activation behind it.
    pub fn with_bias(
        self,
        plan: &mut PlanBuilder,
        parameters: &mut Parameters,
        activation: Activation,
    ) -> Self {
        let maps = self.0.maps;
        Conv2d(self.0.with_bias(plan, parameters, maps, activation))
    }
}

impl Layer for Conv2d {
    type Saved = Saved;

    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Saved) {
        let filter = &self.0;
        let e = &mut e.at(&filter.name, Pass::Forward);
        let y = filter.small(e, "y", x.rows / filter.window.area());
        e.launch(
            "",
            Convolve {
                window: filter.window,
                x,
                weight: filter.weight(),
                bias: filter.bias.map(|bias| bias.value),
                activation: filter.activation,
                y,
            },
        );
        (y, Saved { x, y })
    }

    fn backward(&self, e: &mut Emitter, saved: Saved, dy: Gradient) -> Gradient {
        let filter = &self.0;
        let e = &mut e.at(&filter.name, Pass::Backward);
        let Saved { x, y } = saved;
        let dz = filter.before_activation(e, y, dy);
        filter.weight_gradient(e, x, dz);
        let dx = filter.large(e, "dx", x.rows / filter.window.area());
        e.launch(
            "data",
            DataGradient {
                window: filter.window,
                dy: dz,
                weight: filter.weight(),
                bias: None,
                activation: Activation::Identity,
                dx,
            },
        );
        Gradient::new(dx)
    }
}

/// `y = f(convᵀ(x) + bias)`, from `[N·OH·OW, M]` to `[N·H·W, C]`: PyTorch's `ConvTranspose2d`.
///
/// The window is that of the convolution whose adjoint this is, so the input is its smaller side:
/// [`Window::transposed`] makes one from the input's size and the output padding.
#[derive(Clone, Debug)]
pub struct ConvTranspose2d(Filter);

impl ConvTranspose2d {
    /// Declares `{name}.weight`, from `maps` to `channels` channels, as in He et al. with the given
    /// gain: an output pixel sums one in stride² of the taps.
    pub fn new(
        plan: &mut PlanBuilder,
        parameters: &mut Parameters,
        name: &str,
        window: Window,
        [maps, channels]: [usize; 2],
        gain: f64,
    ) -> Self {
        let strides = window.stride[0] * window.stride[1];
        let fan_in = (window.taps() * maps).div_ceil(strides);
        let init = Init::Normal { gain, fan_in };
        let channels = [channels, maps];
        ConvTranspose2d(Filter::new(plan, parameters, name, window, channels, init))
    }

    /// Adds a bias, `{name}.bias`, and an activation behind it.
    pub fn with_bias(
        self,
        plan: &mut PlanBuilder,
        parameters: &mut Parameters,
        activation: Activation,
    ) -> Self {
        let channels = self.0.channels;
        ConvTranspose2d(self.0.with_bias(plan, parameters, channels, activation))
    }
}

impl Layer for ConvTranspose2d {
    type Saved = Saved;

    fn forward(&self, e: &mut Emitter, x: Matrix) -> (Matrix, Saved) {
        let filter = &self.0;
        let e = &mut e.at(&filter.name, Pass::Forward);
        let y = filter.large(e, "y", x.rows / filter.window.map_area());
        e.launch(
            "",
            DataGradient {
                window: filter.window,
                dy: x,
                weight: filter.weight(),
                bias: filter.bias.map(|bias| bias.value),
                activation: filter.activation,
                dx: y,
            },
        );
        (y, Saved { x, y })
    }

    fn backward(&self, e: &mut Emitter, saved: Saved, dy: Gradient) -> Gradient {
        let filter = &self.0;
        let e = &mut e.at(&filter.name, Pass::Backward);
        let Saved { x, y } = saved;
        let dz = filter.before_activation(e, y, dy);
        filter.weight_gradient(e, dz, x);
        let dx = filter.small(e, "dx", x.rows / filter.window.map_area());
        e.launch(
            "data",
            Convolve {
                window: filter.window,
                x: dz,
                weight: filter.weight(),
                bias: None,
                activation: Activation::Identity,
                y: dx,
            },
        );
        Gradient::new(dx)
    }
}
