//! Convolution and transposed convolution, each with an activation fused behind it.

use super::{Init, Layer, Layout, Mode, Parameter, Parameters, Saved, activate_backward, sum_rows};
use crate::buffer::Matrix;
use crate::kernels::column_sum::ColumnSumFinish;
use crate::kernels::convolution::{Convolve, DataGradient, WeightGradient, weight_blocks};
use crate::kernels::{Activation, Window};
use crate::plan::PlanBuilder;

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

    /// A matrix on the larger side, `[N·H·W, C]`.
    fn large(&self, plan: &mut PlanBuilder, what: &str, images: usize) -> Matrix {
        let rows = images * self.window.area();
        plan.temporary_matrix(format!("{}.{what}", self.name), rows, self.channels)
    }

    /// A matrix on the smaller side, `[N·OH·OW, M]`.
    fn small(&self, plan: &mut PlanBuilder, what: &str, images: usize) -> Matrix {
        let rows = images * self.window.map_area();
        plan.temporary_matrix(format!("{}.{what}", self.name), rows, self.maps)
    }

    /// Appends d_weight from what lies on either side.
    fn weight_gradient(&self, plan: &mut PlanBuilder, large: Matrix, small: Matrix) {
        let len = self.weight.gradient.len;
        let partial = plan.temporary_matrix(
            format!("{}.d_weight.partial", self.name),
            weight_blocks(small.rows, len),
            len,
        );
        plan.launch(
            format!("{} backward: weight, blocks", self.name),
            WeightGradient {
                window: self.window,
                x: large,
                dy: small,
                partial,
            },
        );
        plan.launch(
            format!("{} backward: weight", self.name),
            ColumnSumFinish {
                partial,
                sum: self.weight.gradient,
            },
        );
    }

    /// Appends the gradients by what comes before f and by the bias. Returns the former.
    fn before_activation(&self, plan: &mut PlanBuilder, saved: &Saved, dy: Matrix) -> Matrix {
        let dz = activate_backward(plan, &self.name, self.activation, saved.y, dy);
        if let Some(bias) = self.bias {
            sum_rows(plan, &self.name, dz, bias.gradient);
        }
        dz
    }
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
    fn learns(&self) -> bool {
        true
    }

    fn forward(&self, plan: &mut PlanBuilder, x: Matrix, _mode: Mode) -> Saved {
        let filter = &self.0;
        let y = filter.small(plan, "y", x.rows / filter.window.area());
        plan.launch(
            format!("{} forward", filter.name),
            Convolve {
                window: filter.window,
                x,
                weight: filter.weight(),
                bias: filter.bias.map(|bias| bias.value),
                activation: filter.activation,
                y,
            },
        );
        Saved::new(x, y)
    }

    fn backward(
        &self,
        plan: &mut PlanBuilder,
        saved: &Saved,
        dy: Matrix,
        need_dx: bool,
    ) -> Option<Matrix> {
        let filter = &self.0;
        let dz = filter.before_activation(plan, saved, dy);
        filter.weight_gradient(plan, saved.x, dz);
        need_dx.then(|| {
            let dx = filter.large(plan, "dx", saved.x.rows / filter.window.area());
            plan.launch(
                format!("{} backward: data", filter.name),
                DataGradient {
                    window: filter.window,
                    dy: dz,
                    weight: filter.weight(),
                    bias: None,
                    activation: Activation::Identity,
                    dx,
                },
            );
            dx
        })
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
    fn learns(&self) -> bool {
        true
    }

    fn forward(&self, plan: &mut PlanBuilder, x: Matrix, _mode: Mode) -> Saved {
        let filter = &self.0;
        let y = filter.large(plan, "y", x.rows / filter.window.map_area());
        plan.launch(
            format!("{} forward", filter.name),
            DataGradient {
                window: filter.window,
                dy: x,
                weight: filter.weight(),
                bias: filter.bias.map(|bias| bias.value),
                activation: filter.activation,
                dx: y,
            },
        );
        Saved::new(x, y)
    }

    fn backward(
        &self,
        plan: &mut PlanBuilder,
        saved: &Saved,
        dy: Matrix,
        need_dx: bool,
    ) -> Option<Matrix> {
        let filter = &self.0;
        let dz = filter.before_activation(plan, saved, dy);
        filter.weight_gradient(plan, dz, saved.x);
        need_dx.then(|| {
            let dx = filter.small(plan, "dx", saved.x.rows / filter.window.map_area());
            plan.launch(
                format!("{} backward: data", filter.name),
                Convolve {
                    window: filter.window,
                    x: dz,
                    weight: filter.weight(),
                    bias: None,
                    activation: Activation::Identity,
                    y: dx,
                },
            );
            dx
        })
    }
}
