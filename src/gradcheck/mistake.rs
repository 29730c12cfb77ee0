//! Known mistakes, to be planted: mutation testing for gradients.
//!
//! A backward is a list of launches, so a mistake in it is a rewriting of that list, the same on
//! every device. Each of these is one that people make: it compiles, it runs, its shapes fit, and
//! training may even get somewhere with it.

use crate::kernels::batch_norm::Saved;
use crate::kernels::convolution::{Convolve, DataGradient, WeightGradient};
use crate::kernels::gemm::Gemm;
use crate::kernels::loss::{self, Loss};
use crate::kernels::pool::{AveragePool, AveragePoolBackward};
use crate::kernels::upsample::{Enlargement, Upsample};
use crate::kernels::{Activation, AnyKernel, Window};
use crate::plan::{Element, Launch, Matrix, PlanBuilder, RoutineId, View};

/// A mistake that can be planted into a backward.
#[derive(Debug)]
pub struct Mistake {
    /// What `--break` calls it.
    pub name: &'static str,
    /// What is wrong, in a sentence.
    pub what: &'static str,
    /// What becomes of a launch of the backward; none if it has no place for the mistake.
    rewrite: fn(&Launch, &Context) -> Option<Vec<AnyKernel>>,
}

/// What a rewriting may need from the rest of the plan.
struct Context<'a> {
    /// Forward and backward.
    launches: &'a [Launch],
    /// As many zeros as any of its buffers is long.
    zeros: View,
    /// The model's clean and noisy images, if it is a model.
    images: Option<[View; 2]>,
}

/// Every mistake there is.
pub const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "transposed-weight",
        what: "a dense layer's data gradient reads the weight as if it lay transposed",
        rewrite: |launch, _| match &launch.kernel {
            AnyKernel::Gemm(gemm) if gemm.transpose_b => {
                let weight = gemm.b.view.matrix(gemm.b.cols, gemm.b.rows);
                Some(vec![Gemm::new(gemm.a, weight, gemm.y).into()])
            }
            _ => None,
        },
    },
    Mistake {
        name: "missing-slope",
        what: "the activation's derivative is left out",
        rewrite: |launch, _| match launch.kernel.clone() {
            AnyKernel::ActivationBackward(mut backward)
                if backward.activation != Activation::Identity =>
            {
                backward.activation = Activation::Identity;
                Some(vec![backward.into()])
            }
            kernel => with_saved(kernel, |saved| {
                let linear = saved.activation == Activation::Identity;
                saved.activation = Activation::Identity;
                !linear
            }),
        },
    },
    Mistake {
        name: "slope-of-input",
        what: "the activation's derivative, written in terms of its output, is given its input",
        rewrite: |launch, context| match launch.kernel.clone() {
            AnyKernel::ActivationBackward(mut backward) if backward.activation.is_curved() => {
                let forward = context
                    .launches
                    .iter()
                    .find_map(|launch| match &launch.kernel {
                        AnyKernel::ActivationForward(forward) if forward.y == backward.y => {
                            Some(forward)
                        }
                        _ => None,
                    })?;
                backward.y = forward.x;
                Some(vec![backward.into()])
            }
            _ => None,
        },
    },
    Mistake {
        name: "wrong-sign",
        what: "the squared error's gradient is target − y instead of y − target",
        rewrite: |launch, _| match launch.kernel.clone() {
            AnyKernel::LossGradient(gradient) if gradient.loss == Loss::MeanSquaredError => {
                let (y, target) = (gradient.target, gradient.y);
                Some(vec![
                    loss::Gradient {
                        y,
                        target,
                        ..gradient
                    }
                    .into(),
                ])
            }
            _ => None,
        },
    },
    Mistake {
        name: "wrong-loss",
        what: "the gradient is that of the other loss",
        rewrite: |launch, _| match launch.kernel.clone() {
            AnyKernel::LossGradient(mut gradient) => {
                gradient.loss = match gradient.loss {
                    Loss::MeanSquaredError => Loss::BinaryCrossEntropy,
                    Loss::BinaryCrossEntropy => Loss::MeanSquaredError,
                };
                Some(vec![gradient.into()])
            }
            _ => None,
        },
    },
    Mistake {
        name: "mean-over-block",
        what: "the loss's gradient is divided by the length of a block instead of the whole",
        rewrite: |launch, _| match &launch.kernel {
            AnyKernel::LossGradient(gradient) => {
                const BLOCK: usize = 64;
                let len = gradient.y.len;
                let part = |first: usize| {
                    let of = |view: View| view.part(first, BLOCK.min(len - first));
                    let (y, target) = (of(gradient.y), of(gradient.target));
                    let (dy, loss) = (of(gradient.dy), gradient.loss);
                    loss::Gradient {
                        y,
                        target,
                        dy,
                        loss,
                    }
                    .into()
                };
                (len > BLOCK).then(|| (0..len).step_by(BLOCK).map(part).collect())
            }
            _ => None,
        },
    },
    Mistake {
        name: "missing-division",
        what: "average pooling hands its gradient on without dividing by the window's taps",
        rewrite: |launch, _| match &launch.kernel {
            AnyKernel::AveragePoolBackward(pool) => {
                let enlargement = tiling(&pool.window)?;
                let (x, y) = (pool.dy, pool.dx);
                Some(vec![Upsample { enlargement, x, y }.into()])
            }
            _ => None,
        },
    },
    Mistake {
        name: "mean-for-sum",
        what: "upsampling's gradient is the mean over the copies of a pixel instead of their sum",
        rewrite: |launch, _| match &launch.kernel {
            AnyKernel::UpsampleBackward(upsample) => {
                let Enlargement { factor, .. } = upsample.enlargement;
                let window = Window {
                    size: upsample.enlargement.enlarged(),
                    kernel: factor,
                    stride: factor,
                    padding: [0; 2],
                    dilation: [1; 2],
                };
                let (x, y) = (upsample.dy, upsample.dx);
                (window.taps() > 1).then(|| vec![AveragePool { window, x, y }.into()])
            }
            _ => None,
        },
    },
    Mistake {
        name: "max-as-average",
        what: "max pooling spreads its gradient over the window instead of giving it to the maximum",
        rewrite: |launch, _| match &launch.kernel {
            AnyKernel::MaxPoolBackward(pool) => {
                let (window, dy, dx) = (pool.window, pool.dy, pool.dx);
                Some(vec![AveragePoolBackward { window, dy, dx }.into()])
            }
            _ => None,
        },
    },
    Mistake {
        name: "stale-batch-norm-mean",
        what: "batch norm's backward takes the running mean for the batch's",
        rewrite: |launch, context| {
            with_saved(launch.kernel.clone(), |saved| {
                let running = context
                    .launches
                    .iter()
                    .find_map(|launch| match &launch.kernel {
                        AnyKernel::BatchNormStatistics(statistics)
                            if statistics.normaliser.mean == saved.normaliser.mean =>
                        {
                            Some(statistics.running_mean)
                        }
                        _ => None,
                    });
                saved.normaliser.mean = running.expect("forward is in the same routine");
                true
            })
        },
    },
    Mistake {
        name: "constant-statistics",
        what: "batch norm's data gradient forgets that mean and variance depend on x",
        rewrite: |launch, context| match launch.kernel.clone() {
            AnyKernel::BatchNormBackwardApply(mut apply) => {
                let zeros = context.zeros.part(0, apply.d_beta.len);
                (apply.d_beta, apply.d_gamma) = (zeros, zeros);
                Some(vec![apply.into()])
            }
            _ => None,
        },
    },
    Mistake {
        name: "swapped-gamma-and-beta",
        what: "batch norm's two parameter gradients are exchanged",
        rewrite: |launch, _| match launch.kernel.clone() {
            AnyKernel::BatchNormBackwardFinish(mut finish) => {
                std::mem::swap(&mut finish.d_gamma, &mut finish.d_beta);
                Some(vec![finish.into()])
            }
            _ => None,
        },
    },
    Mistake {
        name: "missing-bias-gradient",
        what: "a bias's gradient is never computed",
        rewrite: |launch, _| launch.label.ends_with(": bias").then(Vec::new),
    },
    Mistake {
        name: "first-block-only",
        what: "the second pass of a sum over rows takes the first block for the whole",
        rewrite: |launch, _| match launch.kernel.clone() {
            AnyKernel::ColumnSumFinish(mut finish) if finish.partial.rows > 1 => {
                let Matrix { view, cols, .. } = finish.partial;
                finish.partial = view.part(0, cols).matrix(1, cols);
                Some(vec![finish.into()])
            }
            _ => None,
        },
    },
    Mistake {
        name: "rows-for-columns",
        what: "a convolution's backward takes the rows of its images for columns",
        rewrite: |launch, _| {
            with_window(launch.kernel.clone(), |window| {
                let turned = [
                    &mut window.size,
                    &mut window.kernel,
                    &mut window.stride,
                    &mut window.padding,
                    &mut window.dilation,
                ];
                turned.into_iter().for_each(|pair| pair.swap(0, 1));
                true
            })
        },
    },
    Mistake {
        name: "output-padding-off-by-one",
        what: "a convolution's backward takes its larger side for one row shorter",
        rewrite: |launch, _| {
            with_window(launch.kernel.clone(), |window| {
                let map = window.map();
                window.size[0] -= 1;
                window.size[0] > 0 && window.checked().is_ok_and(|shorter| shorter.map() == map)
            })
        },
    },
    Mistake {
        name: "clean-for-noisy",
        what: "the first layer's weight gradient takes the clean images, not the noisy ones it saw",
        rewrite: |launch, context| {
            let [clean, noisy] = context.images?;
            match launch.kernel.clone() {
                AnyKernel::Gemm(mut gemm) if gemm.transpose_a && gemm.a.view == noisy => {
                    gemm.a.view = clean;
                    Some(vec![gemm.into()])
                }
                AnyKernel::Conv2dWeightGradient(mut gradient) if gradient.x.view == noisy => {
                    gradient.x.view = clean;
                    Some(vec![gradient.into()])
                }
                _ => None,
            }
        },
    },
];

/// A kernel of batch norm's backward with other saved values. None if `change` declines.
fn with_saved(kernel: AnyKernel, change: impl Fn(&mut Saved) -> bool) -> Option<Vec<AnyKernel>> {
    match kernel {
        AnyKernel::BatchNormBackwardPartial(mut partial) => {
            change(&mut partial.saved).then(|| vec![partial.into()])
        }
        AnyKernel::BatchNormBackwardApply(mut apply) => {
            change(&mut apply.saved).then(|| vec![apply.into()])
        }
        _ => None,
    }
}

/// A kernel of a convolution's backward with another window, whose larger side may have become
/// shorter: its operand there then is the first part of what it was. None if `change` declines.
fn with_window(kernel: AnyKernel, change: impl Fn(&mut Window) -> bool) -> Option<Vec<AnyKernel>> {
    let shorter = |old: Window, new: Window, side: Matrix| {
        let rows = side.rows / old.area() * new.area();
        side.view.part(0, rows * side.cols).matrix(rows, side.cols)
    };
    let changed = |old: Window| {
        let mut new = old;
        (change(&mut new) && new != old).then_some(new)
    };
    Some(vec![match kernel {
        AnyKernel::Conv2d(conv) => {
            let window = changed(conv.window)?;
            let x = shorter(conv.window, window, conv.x);
            Convolve { window, x, ..conv }.into()
        }
        // A data gradient writes its larger side, and has to write it whole.
        AnyKernel::Conv2dDataGradient(gradient) => {
            let window =
                changed(gradient.window).filter(|new| new.area() == gradient.window.area())?;
            DataGradient { window, ..gradient }.into()
        }
        AnyKernel::Conv2dWeightGradient(gradient) => {
            let window = changed(gradient.window)?;
            let x = shorter(gradient.window, window, gradient.x);
            WeightGradient {
                window,
                x,
                ..gradient
            }
            .into()
        }
        _ => return None,
    }])
}

/// The enlargement that undoes a pooling whose windows tile the image; none if they do not.
fn tiling(window: &Window) -> Option<Enlargement> {
    let (size, factor) = (window.map(), window.kernel);
    let enlargement = Enlargement { size, factor };
    let tiles = window.stride == factor
        && window.padding == [0; 2]
        && window.dilation == [1; 2]
        && enlargement.enlarged() == window.size;
    (tiles && window.taps() > 1).then_some(enlargement)
}

impl Mistake {
    /// The mistake of this name.
    pub fn named(name: &str) -> Option<&'static Mistake> {
        MISTAKES.iter().find(|mistake| mistake.name == name)
    }

    /// The plan with the mistake in the backward launches of a routine. None if it has no place
    /// for it.
    pub(super) fn plant(&self, plan: &PlanBuilder, routine: RoutineId) -> Option<PlanBuilder> {
        let mut plan = plan.clone();
        let launches = plan.launches(routine).to_vec();
        let longest = launches.iter().flat_map(|launch| launch.kernel.operands());
        let longest = longest.map(|operand| operand.view.len).max()?;
        let context = Context {
            zeros: plan.persistent("zeros", Element::Real, longest),
            images: plan
                .find("clean")
                .zip(plan.find("noisy"))
                .map(<[View; 2]>::from),
            launches: &launches,
        };
        let mut planted = false;
        plan.rewrite(routine, |launch| {
            let rewritten = match launch.is_backward() {
                true => (self.rewrite)(&launch, &context),
                false => None,
            };
            let Some(kernels) = rewritten else {
                return vec![launch];
            };
            planted = true;
            let label = launch.label;
            let relabelled = kernels.into_iter().map(|kernel| Launch {
                label: label.clone(),
                kernel,
            });
            relabelled.collect()
        });
        planted.then_some(plan)
    }
}
