//! From a selection to the data set it names.

use std::path::Path;

use super::catalogue::{class_names, unknown};
use super::{DataError, Dataset, Selection, arrays, cifar, fashion_mnist, folder, mnist};

/// Finds, reads, checks and cuts the data set. `seed` decides what is tested on where the data does
/// not say.
///
/// # Errors
///
/// [`DataError`] if the selection makes no sense, or the data is missing, damaged or too large.
pub fn load(selection: &Selection, seed: u64) -> Result<Dataset, DataError> {
    load_from(selection, seed, None)
}

/// As [`load`], with the cache in a folder of the caller's choice.
///
/// # Errors
///
/// As [`load`].
pub fn load_from(
    selection: &Selection,
    seed: u64,
    cache: Option<&Path>,
) -> Result<Dataset, DataError> {
    selection.check()?;
    let path = selection.path.as_deref();
    let mut data = match selection.name.as_str() {
        "mnist" => mnist::load()?,
        "fashion-mnist" => fashion_mnist::load(path, cache)?,
        "cifar10" => cifar::load(path, cache)?,
        "images" => folder::load(selection, seed)?,
        "npy" => arrays::load(selection, seed)?,
        name => return Err(unknown(name)),
    };
    if data.class_names.is_empty() {
        data.class_names = class_names(&selection.name);
    }
    let limit = |limit: Option<usize>| limit.unwrap_or(usize::MAX);
    data.truncate(limit(selection.train_images), limit(selection.test_images));
    data.checked()
}
