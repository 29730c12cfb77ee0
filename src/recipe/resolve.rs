//! `extends`: a recipe that says only what differs from another one.

use std::path::Path;

use toml::{Table, Value};

use super::{Recipe, RecipeError};

/// Recipes that may extend one another in a row: more is a circle.
const DEEPEST: usize = 16;

/// Keys that say what a recipe is, and are not taken from the recipe it extends.
const OF_ITS_OWN: [&str; 2] = ["name", "description"];

/// The text of a recipe with everything that it takes from the recipe it extends, which is a built-in one
/// or a file in `folder`. None if it extends none.
///
/// Errors if there is no such recipe, if it is wrong itself, or if recipes extend each other in a circle.
pub(super) fn extended(
    origin: &str,
    mut table: Table,
    folder: &Path,
    depth: usize,
) -> Result<Option<String>, RecipeError> {
    let wrong = |value: String, expected: &str, hint: &str| RecipeError::Value {
        origin: origin.to_owned(),
        key: "extends",
        value,
        expected: expected.to_owned(),
        hint: hint.to_owned(),
    };
    let hint = "extends = \"mnist-dense\"";
    let name = match table.remove("extends") {
        None => return Ok(None),
        Some(Value::String(name)) => name,
        Some(other) => {
            let expected = "the name of a built-in recipe, or the path of a file";
            return Err(wrong(other.to_string(), expected, hint));
        }
    };
    if depth == DEEPEST {
        return Err(RecipeError::Circle {
            origin: origin.to_owned(),
            base: name,
        });
    }
    let base = Recipe::find(&name, folder, depth + 1).map_err(|source| match source {
        // The chain of recipes that extend one another would repeat the circle.
        circle @ RecipeError::Circle { .. } => circle,
        source => RecipeError::Extends {
            origin: origin.to_owned(),
            base: name.clone(),
            source: Box::new(source),
        },
    })?;
    let base: Table = toml::from_str(&base.to_toml()).expect("a recipe's own TOML");
    let base = base
        .into_iter()
        .filter(|(key, _)| !OF_ITS_OWN.contains(&key.as_str()));
    let merged = merge(base.collect(), table);
    Ok(Some(toml::to_string(&merged).expect("two tables of TOML")))
}

/// What `over` says, and where it says nothing, what `under` says.
pub(super) fn merge(mut under: Table, over: Table) -> Table {
    for (key, value) in over {
        let merged = match (under.remove(&key), value) {
            (Some(Value::Table(under)), Value::Table(over))
                if !is_of_another_kind(&under, &over) =>
            {
                Value::Table(merge(under, over))
            }
            (_, value) => value,
        };
        under.insert(key, merged);
    }
    under
}

/// Whether a table chooses another data set or another kind of model than the one below it, whose keys
/// then make no sense.
fn is_of_another_kind(under: &Table, over: &Table) -> bool {
    ["name", "kind"].iter().any(|key| {
        let (under, over) = (under.get(*key), over.get(*key));
        over.is_some() && under != over
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Recipe, RecipeError> {
        Recipe::parse("mine.toml", text)
    }

    #[test]
    fn a_variant_says_only_what_differs() {
        let text =
            "name = \"mine\"\nextends = \"mnist-dense\"\n[model]\ncode = 32\n[train]\nepochs = 2";
        let (mine, base) = (
            parse(text).expect("right"),
            Recipe::load("mnist-dense").expect("right"),
        );
        let mut expected = base.clone();
        expected.name = "mine".to_owned();
        expected.description = String::new();
        expected.train.epochs = 2;
        expected.model.autoencoder_mut().expect("one").code = 32;
        assert_eq!(mine, expected);
    }

    #[test]
    fn another_kind_of_model_and_another_data_set_take_nothing_from_those_below() {
        let text = "name = \"mine\"\nextends = \"mnist-dense\"\n\
                    [model]\nkind = \"classifier\"\nhidden = [64]\n\
                    [data]\nname = \"npy\"\npath = \"x.npy\"";
        let mine = parse(text).expect("the code's keys are gone");
        assert_eq!(mine.model.kind(), "classifier");
        assert_eq!(mine.data.train_images, None);
    }

    #[test]
    fn a_wrong_key_of_a_variant_is_an_error_that_shows_its_line() {
        let text = "name = \"mine\"\nextends = \"mnist-dense\"\n[train]\nepoch = 2";
        let message = parse(text).expect_err("a wrong key").to_string();
        assert!(
            message.contains("epoch = 2") && message.contains("mine.toml"),
            "{message}"
        );
        let text = "extends = \"mnist-dense\"";
        let message = parse(text).expect_err("no name").to_string();
        assert!(message.contains("missing field `name`"), "{message}");
    }

    #[test]
    fn an_unknown_base_is_an_error_that_names_both_and_what_there_is() {
        let message = parse("name = \"mine\"\nextends = \"mnist-dens\"")
            .expect_err("none")
            .to_string();
        for part in ["mine.toml", "mnist-dens`", "did you mean mnist-dense?"] {
            assert!(message.contains(part), "{message}");
        }
        let message = parse("name = \"mine\"\nextends = 3")
            .expect_err("no text")
            .to_string();
        assert!(message.contains("`extends = 3`"), "{message}");
    }

    #[test]
    fn files_extend_files_beside_them_and_a_circle_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("written");
        std::fs::create_dir(path("below")).expect("made");
        write(
            "base.toml",
            "name = \"base\"\nextends = \"images-conv\"\n[data]\nname = \"images\"\npath = \"photographs\"",
        );
        write(
            "below/mine.toml",
            "name = \"mine\"\nextends = \"../base.toml\"\n[data]\ntest_path = \"others\"",
        );
        let mine = Recipe::read(&path("below/mine.toml")).expect("right");
        // Each path starts at the folder of the file that says it.
        let [photographs, others] =
            [mine.data.path, mine.data.test_path].map(|path| path.expect("said"));
        assert_eq!(photographs, path("below/../photographs"));
        assert_eq!(others, path("below/others"));

        write(
            "base.toml",
            "name = \"base\"\nextends = \"below/mine.toml\"",
        );
        let message = Recipe::read(&path("base.toml"))
            .expect_err("a circle")
            .to_string();
        assert!(message.contains("circle"), "{message}");
    }
}
