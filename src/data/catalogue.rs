//! The data sets that this program knows by name.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{DataError, PublishedFile, cifar, fashion_mnist};

/// A data set, or a way to bring data of your own.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Entry {
    /// What a recipe's `data.name` says.
    pub name: &'static str,
    /// Name for reports.
    pub title: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// `[height, width, channels]`; none if the user's files decide.
    pub shape: Option<[usize; 3]>,
    /// Training and test images; none if the user's files decide.
    pub images: Option<[usize; 2]>,
    /// What each class is called, in the order of the labels.
    pub classes: &'static [&'static str],
    /// The files to fetch; none if they are embedded or the user's own.
    pub files: &'static [PublishedFile],
    /// Keys of `[data]` beside `name`, `train_images` and `test_images`.
    pub keys: &'static [&'static str],
    /// Who made it, and where it is described.
    pub citation: &'static str,
    /// Terms of use.
    pub licence: &'static str,
}

/// Where a data set is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Whereabouts {
    /// In the program.
    Embedded,
    /// Wherever the user says.
    Yours,
    /// In this folder or archive.
    At(PathBuf),
    /// Not on this machine; it can be fetched.
    Absent,
}

impl Entry {
    /// Where the data set is on this machine. Only names are looked at: loading checks the rest.
    pub fn whereabouts(&self, cache: Option<&Path>) -> Whereabouts {
        let found = match self.name {
            "fashion-mnist" => fashion_mnist::find(cache),
            "cifar10" => cifar::find(cache),
            _ if self.shape.is_some() => return Whereabouts::Embedded,
            _ => return Whereabouts::Yours,
        };
        found.map_or(Whereabouts::Absent, Whereabouts::At)
    }
}

/// Every data set, in the order to list them.
pub const CATALOGUE: &[Entry] = &[
    Entry {
        name: "mnist",
        title: "MNIST",
        description: "Handwritten digits, embedded in the program.",
        shape: Some([28, 28, 1]),
        images: Some([60_000, 10_000]),
        classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        files: &[],
        keys: &[],
        citation: "Yann LeCun, Corinna Cortes, Christopher J. C. Burges: The MNIST database of \
                   handwritten digits",
        licence: "commonly distributed under CC BY-SA 3.0",
    },
    Entry {
        name: "fashion-mnist",
        title: "Fashion-MNIST",
        description: "Pictures of clothes from a web shop, in the format of MNIST but harder.",
        shape: Some([28, 28, 1]),
        images: Some([60_000, 10_000]),
        classes: &[
            "T-shirt/top",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ],
        files: &fashion_mnist::FILES,
        keys: &["path"],
        citation: "Han Xiao, Kashif Rasul, Roland Vollgraf: Fashion-MNIST: a Novel Image Dataset \
                   for Benchmarking Machine Learning Algorithms, arXiv:1708.07747",
        licence: "MIT",
    },
    Entry {
        name: "cifar10",
        title: "CIFAR-10",
        description: "Small colour photographs of animals and vehicles.",
        shape: Some([32, 32, 3]),
        images: Some([50_000, 10_000]),
        classes: &[
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ],
        files: &cifar::FILES,
        keys: &["path"],
        citation: "Alex Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009; \
                   https://www.cs.toronto.edu/~kriz/cifar.html",
        licence: "none stated; its author asks that the report above be cited",
    },
    Entry {
        name: "images",
        title: "images",
        description: "Your own folder of PNG and JPEG files, a sub-folder per class if there are \
                      classes.",
        shape: None,
        images: None,
        classes: &[],
        files: &[],
        keys: &[
            "path",
            "test_path",
            "height",
            "width",
            "colour",
            "test_part",
        ],
        citation: "your own",
        licence: "your own",
    },
    Entry {
        name: "npy",
        title: "npy",
        description: "Your own arrays, .npy or IDX: images, and labels if there are classes.",
        shape: None,
        images: None,
        classes: &[],
        files: &[],
        keys: &["path", "test_path", "labels", "test_labels", "test_part"],
        citation: "your own",
        licence: "your own",
    },
];

/// The names, in a row.
pub fn names() -> String {
    let names: Vec<&str> = CATALOGUE.iter().map(|entry| entry.name).collect();
    names.join(", ")
}

/// What the classes of a published data set are called, by their numbers; empty if there is no such
/// set.
pub(super) fn class_names(name: &str) -> Vec<String> {
    let classes = entry(name).map_or(&[][..], |entry| entry.classes);
    classes.iter().map(|&class| class.to_owned()).collect()
}

/// The data set of that name.
///
/// # Errors
///
/// [`DataError::UnknownName`], which lists the names there are.
pub fn entry(name: &str) -> Result<&'static Entry, DataError> {
    let entry = CATALOGUE.iter().find(|entry| entry.name == name);
    entry.ok_or_else(|| unknown(name))
}

/// No data set has that name.
pub(super) fn unknown(name: &str) -> DataError {
    DataError::UnknownName {
        asked: name.to_owned(),
        known: names(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_names_of_their_own_and_files_that_can_be_checked() {
        for (index, entry) in CATALOGUE.iter().enumerate() {
            assert!(CATALOGUE[..index].iter().all(|e| e.name != entry.name));
            assert!(entry.description.ends_with('.'));
            for file in entry.files {
                let hashes = std::iter::once(file.sha256).chain(file.content.map(|(_, hash)| hash));
                for hash in hashes {
                    assert!(hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()));
                }
                assert!(file.bytes > 0 && !file.urls.is_empty());
                assert!(file.urls.iter().all(|url| url.ends_with(file.name)));
            }
        }
    }

    #[test]
    fn an_unknown_name_lists_those_known() {
        let error = entry("emnist").unwrap_err().to_string();
        assert!(error.contains("\"emnist\""), "{error}");
        assert!(
            error.contains("mnist, fashion-mnist, cifar10, images, npy"),
            "{error}"
        );
    }
}
