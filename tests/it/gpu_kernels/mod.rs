//! Every kernel on the GPU and on the CPU in f32, against the CPU in f64, on ragged sizes; and the CPU in
//! f64 against the definition that the kernel's room opens with.
//!
//! ε = 2⁻²⁴ is f32's unit roundoff. A sum of K products is wrong by about √K·ε times the sum of
//! their absolute values when roundings are independent; the tolerances below take four times
//! that. WGSL promises exp, log, sqrt and division to a few ulps only; what it promises is in the
//! tolerance. Nothing here was widened to get green: a wrong index or a missing term is off by
//! orders more.
//!
//! Every written operand lies in the middle of a larger buffer, whose rest must stay untouched.
//! Every launch runs twice on the GPU: with shaders as they are shipped, and with every index
//! checked by the driver.
//!
//! The last test to pass walks the list of kernels: a kernel that no test has compared is a failure.

mod basics;
mod batch_norm;
mod convolution;
mod edges;
mod gather;
mod gemm_ladder;
mod harness;
mod models;
mod nearest;
mod optimisers;
mod products;

use std::sync::atomic::{AtomicUsize, Ordering};

use diabolo::kernels::{Activation, SHADERS};

use self::harness::COMPARED;

const EPSILON: f64 = 1.0 / 16_777_216.0;
const SIZES: [usize; 7] = [1, 31, 33, 64, 127, 129, 784];
const ACTIVATIONS: &[Activation] = &Activation::FUSIBLE;

/// How far f moves for an error in its argument, plus f's own: a sigmoid's slope is 1/4 at most,
/// the others' 1; WGSL's exp is good to 3 + 2|x| ulps, its log to 3 and its division to 2.5; all of
/// what they make is below 1, but for softplus' sum with its argument.
fn through(activation: Activation, argument: f64, error: f64) -> f64 {
    let exponential = (12.0 + 2.0 * argument.abs()) * EPSILON;
    match activation {
        Activation::Identity | Activation::Relu => error,
        Activation::LeakyRelu => error + EPSILON * argument.abs(),
        Activation::Sigmoid => error / 4.0 + exponential,
        // tanh squares its exponential, which doubles its relative error.
        Activation::Tanh => error + 2.0 * exponential,
        Activation::Elu | Activation::Softplus => error + 2.0 * exponential,
        // A polynomial good to 7.5e-8, or quotients of exponentials, times the argument.
        Activation::Gelu | Activation::Silu | Activation::Mish => {
            1.2 * error + argument.abs() * (2.0 * EPSILON + 2.0 * exponential)
        }
    }
}

/// Tests by the names of their functions, and [`TESTS`], how many they are.
macro_rules! tests {
    ($($module:ident::{$($test:ident),+ $(,)?}),+ $(,)?) => {
        $($(
            #[test]
            fn $test() {
                $module::$test();
                test_has_passed();
            }
        )+)+
        const TESTS: usize = [$($(stringify!($test)),+),+].len();
    };
}

tests! {
    basics::{
        gemm_in_all_transpose_cases_with_every_epilogue,
        column_sums,
        activations_forward_and_backward_even_far_out,
        losses_and_their_gradients,
        the_clock_advances,
    },
    batch_norm::{
        batch_norm_forward,
        batch_norm_backward,
    },
    convolution::{
        convolution_forward_and_both_gradients,
        pooling_forward_and_backward,
        upsampling_forward_and_backward,
    },
    edges::{
        more_groups_than_a_dimension_holds_are_folded_into_the_next,
        activations_pass_a_nan_through_and_do_not_make_one,
        an_infinite_distance_is_the_farthest_and_a_nan_is_none,
        what_no_adapter_takes_is_refused_in_words,
        a_product_of_more_rows_than_one_direction_of_groups_covers,
        many_runs_are_few_submissions_and_create_nothing,
        a_part_of_a_byte_buffer_is_written_in_whole_words_or_not_at_all,
    },
    gather::{
        gather_draws_the_same_noise_and_the_same_masks,
        rows_of_reals_are_gathered_with_the_same_noise,
    },
    gemm_ladder::{
        every_rung_of_the_ladder_is_right_on_ragged_sizes,
    },
    models::{
        sums_and_copies_of_whole_views,
        labels_come_in_the_order_of_their_images,
        softmax_cross_entropy_is_its_definition_over_labelled_rows,
        the_mean_of_a_softmax_is_over_labelled_rows_and_0_without_any,
        probabilities_are_those_of_the_definition_and_large_logits_do_not_overflow,
        samples_are_those_of_the_definition_with_noise_of_seed_stream_and_step,
        a_sample_s_gradient_and_its_mean_are_those_of_the_definition,
        the_divergence_and_its_gradient_are_those_of_the_definition,
        dropout_drops_what_the_definition_drops_at_that_step_and_no_other,
        joined_columns_come_apart_again,
        sparsity_and_its_gradients_are_those_of_the_definition,
    },
    nearest::{
        norms_and_distances,
        the_nearest_of_all_agree_exactly_whether_lists_begin_or_go_on,
        nearest_neighbours_agree_exactly_ties_and_all,
        residuals_of_sketches,
        the_nearest_that_bounds_let_through_agree_exactly,
    },
    optimisers::{
        a_step_of_adam_with_and_without_decay_is_its_definition,
        steps_of_gradient_descent_are_their_definition,
        gradients_are_clipped_by_the_norm_of_all_of_them,
        a_norm_that_is_no_number_is_not_hidden,
    },
    products::{
        products_of_every_cut_are_right,
    },
}

/// How many of the tests have passed in this process.
static PASSED: AtomicUsize = AtomicUsize::new(0);

/// Counts a test that has passed. The last of all looks for kernels that no test has compared.
fn test_has_passed() {
    if PASSED.fetch_add(1, Ordering::SeqCst) + 1 < TESTS {
        return;
    }
    let Some(adapter) = harness::gpu() else {
        return;
    };
    let missing = not_compared(adapter.shipped.has_subgroups());
    assert!(
        missing.is_empty(),
        "no test compared {}",
        missing.join(", nor ")
    );
    println!("all {} kernels were compared", SHADERS.len());
}

/// Kernels that were not compared on devices, or not with their definition.
fn not_compared(subgroups: bool) -> Vec<String> {
    let compared = COMPARED.lock().expect("all tests passed");
    let names = SHADERS.iter().map(|(name, _)| *name);
    // The one kernel that not every adapter can run.
    let runs = |name: &&str| subgroups || *name != "gemm_ladder/subgroup";
    let mut missing = Vec::new();
    for name in names.filter(runs) {
        if !compared.devices.contains(name) {
            missing.push(format!("{name} on the GPU with the CPU"));
        }
        if !compared.definition.contains(name) {
            missing.push(format!("{name} with its definition"));
        }
    }
    missing
}
