//! What to type where a recipe is wrong.

use crate::data::DataError;
use crate::models::Settings;

/// A line that says something right for a key.
pub(super) fn example(key: &str) -> &'static str {
    match key {
        "name" => "name = \"mine-1\"",
        "model.hidden" => "hidden = [512, 256]",
        "model.code" => "code = 64",
        "model.convolutions.channels"
        | "model.convolutions.kernel"
        | "model.convolutions.stride"
        | "model.convolutions.dilation"
        | "model.convolutions.padding" => {
            "convolutions = [{ channels = 32, kernel = 3, stride = 2 }]"
        }
        "model.tied" => "take `tied` or the convolutions away",
        "model.beta" => "beta = 1.0",
        "model.dropout" => "dropout = 0.5",
        "train.from" => "from = \"runs/mnist-dense-0/model.safetensors\"",
        "train.learn" => "from = \"runs/mnist-dense-0/model.safetensors\", learn = [\"head\"]",
        "noise.gaussian" => "gaussian = 0.5",
        "noise.shift" => "shift = 2.0",
        "noise.rotation" => "rotation = 10.0",
        "noise.scale" => "scale = 0.1",
        "noise.shear" => "shear = 0.2",
        "noise.masking" => "masking = 0.25",
        "data.name" => "name = \"mnist\"",
        "data.path" => "path = \"images.npy\"",
        "data.height" | "data.width" => "height = 64, width = 64",
        "data.train_images" | "data.test_images" => "train_images = 10000, test_images = 1000",
        "data.test_part" => "test_part = 0.1",
        "train.epochs" => "epochs = 10",
        "train.batch" => "batch = 128",
        "train.learning_rate" => "learning_rate = 1e-3",
        "train.warmup_steps" => "warmup_steps = 100",
        "train.seed" => "seed = 0",
        "train.weight_decay" => "optimiser = \"adamw\", weight_decay = 0.01",
        "train.momentum" => "optimiser = \"sgd\", momentum = 0.9",
        "train.nesterov" => "optimiser = \"sgd\", momentum = 0.9",
        "train.decay_from" => "schedule = \"linear\", decay_from = 0.5",
        "train.clip_norm" => "clip_norm = 1.0",
        "evaluate.labels" => "labels = [50, 200, 1000]",
        "evaluate.draws" => "draws = 100",
        "evaluate.noise_levels" => "noise_levels = [0.25, 0.5]",
        _ => "`diabolo recipes show mnist-dense` prints a whole recipe",
    }
}

/// What to type where `[data]` is wrong.
pub(super) fn of_data(error: &DataError) -> String {
    let key = match error {
        DataError::Setting { key, .. } => key,
        _ => "",
    };
    example(&format!("data.{key}")).to_owned()
}

/// The known word that is nearest to one, by letters to change, whatever their case.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let similarity = |known: &str| strsim::normalized_damerau_levenshtein(known, &word);
    known
        .into_iter()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
}

/// A message of the parser, with Rust's names of types in words.
pub(super) fn in_words(message: &str) -> String {
    let types = [
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected f32", "expected a number"),
    ];
    let replace = |text: String, (name, words): (&str, &str)| text.replace(name, words);
    types.into_iter().fold(message.to_owned(), replace)
}

/// What to do about what the parser says of a recipe whose model is of this kind. `is_key_of` knows the keys
/// of each kind's table.
pub(super) fn of_parser(
    message: &str,
    kind: &str,
    is_key_of: fn(kind: &str, key: &str) -> bool,
) -> String {
    let quoted = |message: &'_ str| -> Vec<String> {
        let words = message.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let words = quoted(message);
    let Some((key, known)) = words.split_first() else {
        return example("").to_owned();
    };
    if message.contains("missing field") {
        return format!("add `{key}`; {}", example(""));
    }
    if message.contains("unknown variant") {
        let known = nearest(key, known.iter().map(String::as_str));
        return known.map_or_else(|| example("").to_owned(), |known| format!("\"{known}\""));
    }
    if !message.contains("unknown field") {
        return example("").to_owned();
    }
    if is_key_of(kind, key) {
        return format!("`{key}` is a key of [model]");
    }
    if let Some(other) = Settings::KINDS.iter().find(|kind| is_key_of(kind, key)) {
        return format!("`{key}` is a key of [model] with kind = \"{other}\"");
    }
    match nearest(key, known.iter().map(String::as_str)) {
        Some(known) => format!("did you mean `{known}`? {}", example("")),
        None => example("").to_owned(),
    }
}
