//! Models of other kinds than the autoencoder, trained for a few steps: classifiers on a trained encoder,
//! frozen or not, and what is refused.

use crate::common::{digits, small};
use diabolo::data::Dataset;
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::models::Use;
use diabolo::progress::unwatched;
use diabolo::recipe::Recipe;
use diabolo::train::{Inference, TrainError, Trainer, Weights};

fn cpu() -> Backend {
    Backend::Cpu(Cpu::<f32>::team(0).expect("threads"))
}

/// The small recipe with another `[model]` table.
fn with_model(model: &str) -> Recipe {
    let text = include_str!("common/small.toml");
    let text = text.replace(
        "[model]\nhidden = [40]\ncode = 6\n",
        &format!("[model]\n{model}"),
    );
    Recipe::parse("kinds.toml", &text).expect("valid")
}

fn refused(model: &str) -> String {
    let text = include_str!("common/small.toml");
    let (model, train) = model.split_once("[train]\n").unwrap_or((model, ""));
    let text = text.replace(
        "[model]\nhidden = [40]\ncode = 6\n",
        &format!("[model]\n{model}"),
    );
    let text = text.replace("[train]\n", &format!("[train]\n{train}"));
    let error = Recipe::parse("kinds.toml", &text).expect_err("a wrong recipe");
    error.to_string()
}

fn trainer(recipe: &Recipe, data: &Dataset) -> Result<Trainer, TrainError> {
    Trainer::new(recipe, data.training(), data.held_out(), &cpu(), None)
}

/// A trained autoencoder's weights, in a file.
fn trained(folder: &tempfile::TempDir) -> (std::path::PathBuf, Weights) {
    let (recipe, data) = (small(), digits());
    let mut trainer = trainer(&recipe, &data).expect("fits");
    trainer.run_steps(9).expect("runs");
    let weights = trainer.weights().expect("readable");
    let path = folder.path().join("model.safetensors");
    weights.save(&path, &recipe, 9).expect("written");
    (path, weights)
}

fn of_encoder(weights: &Weights) -> Vec<(String, Vec<f32>)> {
    let tensors = weights.tensors.iter();
    let of_encoder = tensors.filter(|tensor| tensor.name.starts_with("encoder."));
    of_encoder
        .map(|tensor| (tensor.name.clone(), tensor.values.clone()))
        .collect()
}

#[test]
fn a_classifier_on_a_frozen_encoder_learns_and_leaves_the_encoder_and_its_statistics() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, autoencoder) = trained(&folder);
    let data = digits();
    for frozen in [true, false] {
        let mut recipe = with_model("kind = \"classifier\"\nhidden = [40]\ncode = 6\n");
        recipe.train.from = Some(path.clone());
        if frozen {
            recipe.train.learn = vec!["head".to_owned()];
        }
        let mut trainer = trainer(&recipe, &data).expect("fits");
        let before = trainer.weights().expect("readable");
        assert_eq!(of_encoder(&before), of_encoder(&autoencoder));
        trainer.run_steps(9).expect("runs");
        let after = trainer.weights().expect("readable");
        assert_eq!(of_encoder(&after) == of_encoder(&before), frozen);
        assert_ne!(after, before, "the head learns");
        let losses = trainer.losses().expect("readable");
        assert!(losses[8] < losses[0], "{losses:?}");
    }
}

#[test]
fn a_classifier_s_probabilities_are_those_of_its_classes() {
    let recipe = with_model("kind = \"classifier\"\nhidden = [40]\ndropout = 0.2\n");
    let data = digits();
    let mut trainer = trainer(&recipe, &data).expect("fits");
    trainer.run_steps(9).expect("runs");
    let noted = trainer.measure().expect("runs");
    assert_eq!(noted.len(), 2, "the loss and the error");
    let weights = trainer.weights().expect("readable");
    let mut inference = Inference::new(&recipe, &weights, &cpu(), &[]).expect("fits");
    let classes = inference.width(Use::Classify).expect("it classifies");
    assert_eq!(classes, 10);
    let p = inference
        .apply(Use::Classify, &data.test, &mut unwatched)
        .expect("runs");
    let mut wrong = 0;
    for (p, &label) in p.chunks(classes).zip(&data.test_labels) {
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let largest = (0..classes).fold(0, |a, b| if p[b] > p[a] { b } else { a });
        wrong += usize::from(largest != usize::from(label));
    }
    let error = wrong as f64 / data.test.count as f64;
    // Noisy images are what `measure` sees no more than `apply` does.
    assert!((noted[1] - error).abs() < 1e-6, "{noted:?}, {error}");
    let refused = inference.apply(Use::Restore, &data.test, &mut unwatched);
    let message = refused.expect_err("it restores nothing").to_string();
    assert!(
        message.contains("classifier") && message.contains("encode"),
        "{message}"
    );
}

#[test]
fn a_variational_autoencoder_samples_images() {
    let recipe = with_model("kind = \"vae\"\nhidden = [40]\ncode = 6\n");
    let data = digits();
    let mut trainer = trainer(&recipe, &data).expect("fits");
    trainer.run_steps(9).expect("runs");
    let weights = trainer.weights().expect("readable");
    let mut inference = Inference::new(&recipe, &weights, &cpu(), &[]).expect("fits");
    assert_eq!(inference.width(Use::Encode).expect("it encodes"), 6);
    let images = inference.sample(&[0.5; 3 * 6]).expect("it samples");
    assert_eq!(images.len(), 3 * 784);
    assert!(images.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
    assert_eq!(images[..784], images[784..2 * 784]);
}

#[test]
fn what_a_kind_does_not_take_is_refused_with_a_hint() {
    for (model, parts) in [
        (
            "kind = \"vea\"\ncode = 6\n",
            &["model.kind = \"vea\"", "hint: kind = \"vae\""][..],
        ),
        (
            "kind = \"VAE\"\ncode = 6\n",
            &["model.kind = \"VAE\"", "hint: kind = \"vae\""][..],
        ),
        (
            "kind = \"vae\"\ncode = 6\nloss = \"bce\"\n",
            &[
                "loss",
                "hint: `loss` is a key of [model] with kind = \"autoencoder\"",
            ][..],
        ),
        (
            "kind = \"vae\"\n",
            &["missing field `code`", "hint: add `code`"][..],
        ),
        (
            "code = 6\nactivation = \"leaky_relu\"\n",
            &["leaky_relu", "hint: \"leaky-relu\""][..],
        ),
        (
            "kind = \"classifier\"\nhidden = [4]\ndropout = 1.0\n",
            &["kinds.toml", "model.dropout = 1", "hint: dropout = 0.5"][..],
        ),
        (
            "kind = \"classifier\"\nhidden = [4]\nbeta = 2.0\n",
            &["hint: `beta` is a key of [model] with kind = \"vae\""][..],
        ),
        (
            "kind = \"classifier\"\nhidden = [4]\n[train]\nlearn = [\"head\"]\n",
            &[
                "train.learn = ",
                "`train.from` beside it",
                "hint: from = \"runs/",
            ][..],
        ),
        (
            "kind = \"classifier\"\nhidden = [4]\n[train]\nlearn = [\"decoder\"]\n",
            &["train.learn = [\"decoder\"]", "encoder, head", "hint: "][..],
        ),
        (
            "code = 6\ntied = true\nconvolutions = [{ channels = 4, kernel = 3 }]\n",
            &["model.tied = true", "model.convolutions", "hint: "][..],
        ),
        (
            "kind = \"vae\"\ncode = 6\nbeta = -1.0\n",
            &["model.beta = -1", "hint: beta = 1.0"][..],
        ),
    ] {
        let message = refused(model);
        for part in parts {
            assert!(message.contains(part), "{model}: {message}");
        }
    }
}

#[test]
fn data_and_weights_that_do_not_fit_a_classifier_are_errors_of_the_trainer() {
    let data = digits();
    let message = |result: Result<Trainer, TrainError>| match result {
        Ok(_) => panic!("it must be refused"),
        Err(error) => error.to_string(),
    };
    let recipe = with_model("kind = \"classifier\"\nhidden = [40]\n");
    let unlabelled = Trainer::new(&recipe, &data.train, &data.test, &cpu(), None);
    let text = message(unlabelled);
    assert!(text.contains("labels") && text.contains("hint:"), "{text}");

    let mut short = data.training();
    short.labels = short.labels[1..].into();
    let text = message(Trainer::new(&recipe, short, data.held_out(), &cpu(), None));
    assert!(text.contains("599 labels for 600 images"), "{text}");

    let folder = tempfile::tempdir().expect("a folder");
    let (path, _) = trained(&folder);
    let nowhere = "nowhere/model.safetensors".into();
    for (model, from, parts) in [
        (
            "hidden = [41]\ncode = 6",
            &path,
            ["encoder.0.weight", "hint: "],
        ),
        (
            // The modules of a dropout count in the names of tensors.
            "hidden = [40]\ncode = 6\ndropout = 0.5",
            &path,
            ["encoder.4.weight", "hint: "],
        ),
        (
            "hidden = [40]\nactivation = \"gelu\"",
            &path,
            ["its activation is relu, the recipe's gelu", "hint: "],
        ),
        (
            "hidden = [40]",
            &nowhere,
            ["`train.from` names nowhere/model.safetensors", "hint: "],
        ),
    ] {
        let mut recipe = with_model(&format!("kind = \"classifier\"\n{model}\n"));
        recipe.train.from = Some(from.clone());
        let text = message(trainer(&recipe, &data));
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }

    let mut recipe = small();
    recipe.train.batch = 0;
    let text = message(trainer(&recipe, &data));
    assert!(text.contains("train.batch = 0"), "{text}");
    let recipe = small();
    let wide = diabolo::trace::random_images(
        diabolo::image::ImageShape {
            height: 28,
            width: 29,
            channels: 1,
        },
        3,
    );
    let text = message(Trainer::new(&recipe, &data.train, &wide, &cpu(), None));
    assert!(
        text.contains("28×29×1") && text.contains("28×28×1"),
        "{text}"
    );
}

#[test]
fn a_checkpoint_that_cannot_be_one_of_this_run_is_refused() {
    let (recipe, data) = (small(), digits());
    let mut trainer = trainer(&recipe, &data).expect("fits");
    trainer.run_steps(3).expect("runs");
    let good = trainer.checkpoint().expect("readable");
    let resumed = |checkpoint| {
        Trainer::new(
            &recipe,
            data.training(),
            data.held_out(),
            &cpu(),
            Some(checkpoint),
        )
    };
    assert!(resumed(good.clone()).is_ok());
    for (epoch, position, step) in [(0, 3, 4), (1, 3, 3), (0, 1000, 1000), (usize::MAX, 3, 3)] {
        let mut bad = good.clone();
        bad.progress.epoch = epoch;
        bad.progress.position = position;
        bad.progress.step = step;
        let error = resumed(bad).err().expect("refused").to_string();
        assert!(error.contains("an epoch has"), "{error}");
    }

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    let mut weights = good.weights.clone();
    weights.tensors[0].values[5] = f32::NAN;
    weights.save(&path, &recipe, 3).expect("written");
    let error = Weights::load(&path).expect_err("refused").to_string();
    let name = &weights.tensors[0].name;
    assert!(
        error.contains("model.safetensors") && error.contains(name) && error.contains("NaN"),
        "{error}"
    );
}
