//! Known mistakes, to be planted: mutation testing for gradients.
//!
//! A backward is a list of launches, so a mistake in it is a rewriting of that list, the same on
//! every device. Each of these is one that people make: it compiles, it runs, its shapes fit, and
//! training may even get somewhere with it.

use std::sync::Arc;

use crate::buffer::{Element, Matrix, View};
use crate::emit::{SUM_OVER_BRANCHES, SUM_OVER_USES};
use crate::kernels::activation;
use crate::kernels::batch_norm::Saved;
use crate::kernels::batch_norm::{BackwardApply, BackwardFinish, BackwardPartial, Statistics};
use crate::kernels::column_sum::ColumnSumFinish;
use crate::kernels::convolution::{Convolve, DataGradient, WeightGradient};
use crate::kernels::dropout::Dropout;
use crate::kernels::gaussian::{KlGradient, SampleBackward};
use crate::kernels::gemm::Gemm;
use crate::kernels::loss::{self, Loss};
use crate::kernels::pool::{AveragePool, AveragePoolBackward, MaxPoolBackward};
use crate::kernels::softmax;
use crate::kernels::upsample::{Enlargement, Upsample, UpsampleBackward};
use crate::kernels::{Activation, AnyKernel, Kernel, Window};
use crate::plan::{Launch, Pass, PlanBuilder, RoutineId};

/// A mistake that can be planted into a backward.
#[derive(Debug)]
pub struct Mistake {
    /// What `--break` calls it.
    pub name: &'static str,
    /// What is wrong, in a sentence.
    pub what: &'static str,
    /// What becomes of a launch of the backward; none if it has no place for the mistake.
    rewrite: fn(&Launch, &Context) -> Option<Kernels>,
}

/// The kernels that stand in a launch's place.
type Kernels = Vec<Arc<dyn AnyKernel>>;

/// One kernel in a launch's place.
fn one(kernel: impl Kernel) -> Option<Kernels> {
    Some(vec![Arc::new(kernel)])
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

impl Context<'_> {
    /// The first launch of kernel `K` that `is` the one looked for.
    fn find<K: Kernel>(&self, is: impl Fn(&K) -> bool) -> Option<&K> {
        let mut kernels = self.launches.iter().map(|launch| &launch.kernel);
        kernels.find_map(|kernel| kernel.downcast().filter(|kernel| is(kernel)))
    }
}

/// Every mistake there is.
pub const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "transposed-weight",
        what: "a dense layer's data gradient reads the weight as if it lay transposed",
        rewrite: |launch, _| {
            let gemm = launch.kernel.downcast::<Gemm>()?;
            let weight = gemm.b.view.matrix(gemm.b.cols, gemm.b.rows);
            let wrong = || Gemm::new(gemm.a, weight, gemm.y);
            gemm.transpose_b.then(wrong).and_then(one)
        },
    },
    Mistake {
        name: "missing-slope",
        what: "the activation's derivative is left out",
        rewrite: |launch, _| {
            let without = |activation: &mut Activation| {
                let linear = *activation == Activation::Identity;
                *activation = Activation::Identity;
                !linear
            };
            if let Some(backward) = launch.kernel.downcast::<activation::Backward>() {
                let mut backward = backward.clone();
                return without(&mut backward.activation)
                    .then_some(backward)
                    .and_then(one);
            }
            with_saved(launch, |saved| without(&mut saved.activation))
        },
    },
    Mistake {
        name: "slope-of-input",
        what: "the activation's derivative, written in terms of its output, is given its input",
        rewrite: |launch, context| {
            let mut backward = launch.kernel.downcast::<activation::Backward>()?.clone();
            let forward = context.find(|f: &activation::Forward| f.y == backward.saved)?;
            backward.saved = forward.x;
            let curved = backward.activation.is_curved();
            curved.then_some(backward).and_then(one)
        },
    },
    Mistake {
        name: "wrong-sign",
        what: "the squared error's gradient is target − y instead of y − target",
        rewrite: |launch, _| {
            let mut gradient = launch.kernel.downcast::<loss::Gradient>()?.clone();
            std::mem::swap(&mut gradient.y, &mut gradient.target);
            let squared = gradient.loss == Loss::MeanSquaredError;
            squared.then_some(gradient).and_then(one)
        },
    },
    Mistake {
        name: "wrong-loss",
        what: "the gradient is that of the other loss",
        rewrite: |launch, _| {
            let mut gradient = launch.kernel.downcast::<loss::Gradient>()?.clone();
            gradient.loss = match gradient.loss {
                Loss::MeanSquaredError => Loss::BinaryCrossEntropy,
                Loss::BinaryCrossEntropy => Loss::MeanSquaredError,
            };
            one(gradient)
        },
    },
    Mistake {
        name: "mean-over-block",
        what: "the loss's gradient is divided by the length of a block instead of the whole",
        rewrite: |launch, _| {
            const BLOCK: usize = 64;
            let gradient = launch.kernel.downcast::<loss::Gradient>()?;
            let len = gradient.y.len;
            let part = |first: usize| -> Arc<dyn AnyKernel> {
                let of = |view: View| view.part(first, BLOCK.min(len - first));
                let mut part = gradient.clone();
                for view in [&mut part.y, &mut part.target, &mut part.dy] {
                    *view = of(*view);
                }
                part.divisor *= part.y.len as f64 / len as f64;
                Arc::new(part)
            };
            (len > BLOCK).then(|| (0..len).step_by(BLOCK).map(part).collect())
        },
    },
    Mistake {
        name: "missing-division",
        what: "average pooling hands its gradient on without dividing by the window's taps",
        rewrite: |launch, _| {
            let pool = launch.kernel.downcast::<AveragePoolBackward>()?;
            let enlargement = tiling(&pool.window)?;
            let (x, y) = (pool.dy, pool.dx);
            one(Upsample { enlargement, x, y })
        },
    },
    Mistake {
        name: "mean-for-sum",
        what: "upsampling's gradient is the mean over the copies of a pixel instead of their sum",
        rewrite: |launch, _| {
            let upsample = launch.kernel.downcast::<UpsampleBackward>()?;
            let Enlargement { factor, .. } = upsample.enlargement;
            let window = Window {
                size: upsample.enlargement.enlarged(),
                kernel: factor,
                stride: factor,
                padding: [0; 2],
                dilation: [1; 2],
            };
            let (x, y) = (upsample.dy, upsample.dx);
            let pool = AveragePool { window, x, y };
            (window.taps() > 1).then_some(pool).and_then(one)
        },
    },
    Mistake {
        name: "max-as-average",
        what: "max pooling spreads its gradient over the window instead of giving it to the maximum",
        rewrite: |launch, _| {
            let pool = launch.kernel.downcast::<MaxPoolBackward>()?;
            let (window, dy, dx) = (pool.window, pool.dy, pool.dx);
            one(AveragePoolBackward { window, dy, dx })
        },
    },
    Mistake {
        name: "stale-batch-norm-mean",
        what: "batch norm's backward takes the running mean for the batch's",
        rewrite: |launch, context| {
            with_saved(launch, |saved| {
                let mean = saved.normaliser.mean;
                let statistics =
                    context.find(|statistics: &Statistics| statistics.normaliser.mean == mean);
                let statistics = statistics.expect("forward is in the same routine");
                saved.normaliser.mean = statistics.running_mean;
                true
            })
        },
    },
    Mistake {
        name: "constant-statistics",
        what: "batch norm's data gradient forgets that mean and variance depend on x",
        rewrite: |launch, context| {
            let mut apply = launch.kernel.downcast::<BackwardApply>()?.clone();
            let zeros = context.zeros.part(0, apply.d_beta.len);
            (apply.d_beta, apply.d_gamma) = (zeros, zeros);
            one(apply)
        },
    },
    Mistake {
        name: "swapped-gamma-and-beta",
        what: "batch norm's two parameter gradients are exchanged",
        rewrite: |launch, _| {
            let mut finish = launch.kernel.downcast::<BackwardFinish>()?.clone();
            std::mem::swap(&mut finish.d_gamma, &mut finish.d_beta);
            one(finish)
        },
    },
    Mistake {
        name: "missing-bias-gradient",
        what: "a bias's gradient is never computed",
        rewrite: |launch, _| (launch.label.part == "bias").then(Vec::new),
    },
    Mistake {
        name: "first-block-only",
        what: "the second pass of a sum over rows takes the first block for the whole",
        rewrite: |launch, _| {
            let mut finish = launch.kernel.downcast::<ColumnSumFinish>()?.clone();
            let Matrix { view, rows, cols } = finish.partial;
            finish.partial = view.part(0, cols).matrix(1, cols);
            (rows > 1).then_some(finish).and_then(one)
        },
    },
    Mistake {
        name: "rows-for-columns",
        what: "a convolution's backward takes the rows of its images for columns",
        rewrite: |launch, _| {
            with_window(launch, |window| {
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
            with_window(launch, |window| {
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
            if let Some(gemm) = launch.kernel.downcast::<Gemm>() {
                let mut gemm = gemm.clone();
                let first = gemm.transpose_a && gemm.a.view == noisy;
                gemm.a.view = clean;
                return first.then_some(gemm).and_then(one);
            }
            let mut gradient = launch.kernel.downcast::<WeightGradient>()?.clone();
            let first = gradient.x.view == noisy;
            gradient.x.view = clean;
            first.then_some(gradient).and_then(one)
        },
    },
    Mistake {
        name: "forgotten-use",
        what: "a weight that is used twice gets the gradient of one use only",
        rewrite: |launch, _| (launch.label.part == SUM_OVER_USES).then(Vec::new),
    },
    Mistake {
        name: "forgotten-branch",
        what: "an activation that is read twice gets the gradient of one reader only",
        rewrite: |launch, _| (launch.label.part == SUM_OVER_BRANCHES).then(Vec::new),
    },
    Mistake {
        name: "softmax-summed",
        what: "the softmax loss's gradient is that of the sum over images, not of their mean",
        rewrite: |launch, _| {
            let mut gradient = launch.kernel.downcast::<softmax::Gradient>()?.clone();
            gradient.weight *= gradient.logits.rows as f64;
            (gradient.logits.rows > 1).then_some(gradient).and_then(one)
        },
    },
    Mistake {
        name: "fresh-dropout-mask",
        what: "dropout's backward draws another mask than its forward drew",
        rewrite: |launch, _| {
            let mut dropout = launch.kernel.downcast::<Dropout>()?.clone();
            dropout.stream += 1;
            one(dropout)
        },
    },
    Mistake {
        name: "unit-deviation",
        what: "a sample's backward forgets the deviation: it takes σ for 1",
        rewrite: |launch, context| {
            let mut sample = launch.kernel.downcast::<SampleBackward>()?.clone();
            let zeros = context.zeros.part(0, sample.q.view.len);
            sample.q.view = zeros;
            one(sample)
        },
    },
    Mistake {
        name: "divergence-per-batch",
        what: "the divergence's gradient is summed over images instead of averaged",
        rewrite: |launch, _| {
            let mut gradient = launch.kernel.downcast::<KlGradient>()?.clone();
            gradient.scale *= gradient.q.rows as f64;
            (gradient.q.rows > 1).then_some(gradient).and_then(one)
        },
    },
];

/// A kernel of batch norm's backward with other saved values. None if `change` declines.
fn with_saved(launch: &Launch, change: impl Fn(&mut Saved) -> bool) -> Option<Kernels> {
    if let Some(partial) = launch.kernel.downcast::<BackwardPartial>() {
        let mut partial = partial.clone();
        return change(&mut partial.saved).then_some(partial).and_then(one);
    }
    let mut apply = launch.kernel.downcast::<BackwardApply>()?.clone();
    change(&mut apply.saved).then_some(apply).and_then(one)
}

/// A kernel of a convolution's backward with another window, whose larger side may have become
/// shorter: its operand there then is the first part of what it was. None if `change` declines.
fn with_window(launch: &Launch, change: impl Fn(&mut Window) -> bool) -> Option<Kernels> {
    let shorter = |old: Window, new: Window, side: Matrix| {
        let rows = side.rows / old.area() * new.area();
        side.view.part(0, rows * side.cols).matrix(rows, side.cols)
    };
    let changed = |old: Window| {
        let mut new = old;
        (change(&mut new) && new != old).then_some(new)
    };
    if let Some(conv) = launch.kernel.downcast::<Convolve>() {
        let window = changed(conv.window)?;
        let x = shorter(conv.window, window, conv.x);
        return one(Convolve {
            window,
            x,
            ..conv.clone()
        });
    }
    if let Some(gradient) = launch.kernel.downcast::<DataGradient>() {
        // A data gradient writes its larger side, and has to write it whole.
        let window = changed(gradient.window)?;
        let whole = window.area() == gradient.window.area();
        let gradient = DataGradient {
            window,
            ..gradient.clone()
        };
        return whole.then_some(gradient).and_then(one);
    }
    let gradient = launch.kernel.downcast::<WeightGradient>()?;
    let window = changed(gradient.window)?;
    let x = shorter(gradient.window, window, gradient.x);
    one(WeightGradient {
        window,
        x,
        ..gradient.clone()
    })
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
        // A mistake in a launch that is dropped would change nothing.
        let mut live = plan.live(routine).into_iter();
        plan.rewrite(routine, |launch| {
            let live = live.next().expect("one for each launch");
            if launch.label.pass != Pass::Backward || !live {
                return vec![launch];
            }
            let Some(kernels) = (self.rewrite)(&launch, &context) else {
                return vec![launch];
            };
            planted = true;
            let label = &launch.label;
            let relabelled = kernels.into_iter().map(|kernel| Launch {
                label: label.clone(),
                kernel,
            });
            relabelled.collect()
        });
        planted.then_some(plan)
    }
}
