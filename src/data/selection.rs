//! Which data to learn from, as a recipe's `[data]` says it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DataError;
use super::catalogue::{Entry, entry, names};
use crate::image::{ImageShape, MOST_VALUES};

/// The part of the images to test on, where nothing else says which.
const TEST_PART: f64 = 0.1;

/// Which data, as a recipe's `[data]` says it. In a recipe file, relative paths start at the file's folder.
///
/// `name` decides which of the other keys there may be; see [`Entry::keys`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The data set: `mnist`, `fashion-mnist`, `cifar10`, `images` or `npy`.
    pub name: String,
    /// Where the data is: a folder, an archive, or a file of images, depending on `name`. A relative path
    /// starts at the recipe file's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Test images, in the same form as `path`; a part of `path` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_path: Option<PathBuf>,
    /// `npy`: labels of the images of `path`; unlabelled if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// `npy`: labels of the images of `test_path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<PathBuf>,
    /// `images`: rows of pixels to resize every picture to, together with `width`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<usize>,
    /// `images`: pixels per row to resize every picture to, together with `height`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// `images`: what pictures are converted to; `rgb` if absent, whatever the files hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<Colour>,
    /// The part of the images to test on where no others are given; a tenth if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_part: Option<f64>,
    /// Only the first so many training images; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_images: Option<usize>,
    /// Only the first so many test images; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_images: Option<usize>,
}

/// Values per pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// One: luminance, by the weights of Rec. 709.
    Grey,
    /// Three: red, green, blue.
    #[default]
    Rgb,
}

impl Colour {
    /// Values per pixel.
    pub fn channels(self) -> usize {
        match self {
            Colour::Grey => 1,
            Colour::Rgb => 3,
        }
    }
}

impl Selection {
    /// The whole of the data set of that name.
    pub fn named(name: &str) -> Selection {
        Selection {
            name: name.to_owned(),
            ..Selection::default()
        }
    }

    /// The paths that it names.
    pub(crate) fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let paths = [
            &mut self.path,
            &mut self.test_path,
            &mut self.labels,
            &mut self.test_labels,
        ];
        paths.into_iter().flatten().collect()
    }

    /// Checks names, ranges and which keys come together; looks at no file.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] with the first key that is wrong.
    pub fn check(&self) -> Result<(), DataError> {
        let wrong = |key, value: String, expected: &str| {
            Err(DataError::Setting {
                key,
                value,
                expected: expected.to_owned(),
            })
        };
        let Ok(entry) = entry(&self.name) else {
            let expected = format!("one of {}", names());
            return wrong("name", format!("{:?}", self.name), &expected);
        };
        for (key, limit) in [
            ("train_images", self.train_images),
            ("test_images", self.test_images),
        ] {
            if limit == Some(0) {
                return wrong(key, "0".to_owned(), "at least one image");
            }
        }
        let given = self.given();
        let has = |key| given.iter().any(|(given, _)| *given == key);
        for (key, value) in &given {
            if !entry.keys.contains(key) {
                return wrong(key, value.clone(), &takes(entry));
            }
        }
        if entry.shape.is_none() && !has("path") {
            let expected = format!("a path: {:?} is data of your own", self.name);
            return wrong("path", "(absent)".to_owned(), &expected);
        }
        // Each of the first wants the second beside it.
        for (key, other) in [
            ("height", "width"),
            ("width", "height"),
            ("test_labels", "test_path"),
            ("test_labels", "labels"),
        ] {
            if has(key) && !has(other) {
                let expected = format!("`data.{other}` beside it, or neither");
                return wrong(key, value(&given, key), &expected);
            }
        }
        if has("labels") && has("test_path") && !has("test_labels") {
            let expected = "`data.test_labels` beside it: both parts have labels, or neither";
            return wrong("labels", value(&given, "labels"), expected);
        }
        if has("test_part") && has("test_path") {
            let expected = "no such key beside `data.test_path`, which is the whole test set";
            return wrong("test_part", value(&given, "test_part"), expected);
        }
        if let Some(part) = self.test_part
            && !(part > 0.0 && part < 1.0)
        {
            return wrong("test_part", part.to_string(), "a part, 0 < p < 1");
        }
        for (key, size) in [("height", self.height), ("width", self.width)] {
            if size == Some(0) {
                return wrong(key, "0".to_owned(), "at least one pixel");
            }
        }
        if let (Some(height), Some(width)) = (self.height, self.width) {
            let values = height
                .checked_mul(width)
                .and_then(|pixels| pixels.checked_mul(self.colour().channels()));
            if values.is_none_or(|values| values > MOST_VALUES) {
                let expected = format!("at most {MOST_VALUES} values in an image");
                return wrong(
                    "height",
                    format!("{height}` and `data.width = {width}"),
                    &expected,
                );
            }
        }
        Ok(())
    }

    /// What pictures are converted to.
    pub fn colour(&self) -> Colour {
        self.colour.unwrap_or_default()
    }

    /// The shape of the images, where the data set or the keys say it: elsewhere the files decide.
    pub fn image(&self) -> Option<ImageShape> {
        let fixed = entry(&self.name).ok()?.shape;
        let resized = || Some([self.height?, self.width?, self.colour().channels()]);
        let [height, width, channels] = fixed.or_else(resized)?;
        Some(ImageShape {
            height,
            width,
            channels,
        })
    }

    /// The numbers of training and test images, where the data set and the keys say them.
    pub fn counts(&self) -> Option<[usize; 2]> {
        let [train, test] = entry(&self.name).ok()?.images?;
        let limit = |limit: Option<usize>| limit.unwrap_or(usize::MAX);
        Some([
            train.min(limit(self.train_images)),
            test.min(limit(self.test_images)),
        ])
    }

    /// The number of classes, where the data set says it: elsewhere the files decide.
    pub fn classes(&self) -> Option<usize> {
        let classes = entry(&self.name).ok()?.classes.len();
        (classes > 0).then_some(classes)
    }

    /// The part of the images to test on, where no others are given.
    pub fn test_part(&self) -> f64 {
        self.test_part.unwrap_or(TEST_PART)
    }

    /// The keys that say something beside `name` and the two limits, with their values.
    fn given(&self) -> Vec<(&'static str, String)> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| format!("{path:?}"));
        let number = |number: Option<usize>| number.map(|number| number.to_string());
        let keys = [
            ("path", path(&self.path)),
            ("test_path", path(&self.test_path)),
            ("labels", path(&self.labels)),
            ("test_labels", path(&self.test_labels)),
            ("height", number(self.height)),
            ("width", number(self.width)),
            (
                "colour",
                self.colour.map(|c| format!("{c:?}").to_lowercase()),
            ),
            ("test_part", self.test_part.map(|part| part.to_string())),
        ];
        let given = |(key, value): (&'static str, Option<String>)| Some((key, value?));
        keys.into_iter().filter_map(given).collect()
    }
}

/// The value of a key that is there.
fn value(given: &[(&'static str, String)], key: &str) -> String {
    let found = given.iter().find(|(given, _)| *given == key);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// What an entry expects of a key it does not take.
fn takes(entry: &Entry) -> String {
    let keys: Vec<String> = entry.keys.iter().map(|key| format!("`{key}`")).collect();
    let keys = match keys.is_empty() {
        true => "only".to_owned(),
        false => format!("{},", keys.join(", ")),
    };
    let name = entry.name;
    format!("no such key: the data set {name:?} takes {keys} `train_images` and `test_images`")
}
