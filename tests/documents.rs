//! Documents that are made from the code are as the code would make them now.

use std::path::Path;

#[test]
fn the_reference_of_recipes_is_made_from_the_types_that_they_are_read_into() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md");
    let there = std::fs::read_to_string(path).expect("docs/recipes.md");
    assert!(
        there == diabolo::recipe::reference(),
        "docs/recipes.md is stale: `diabolo recipes explain --markdown > docs/recipes.md` makes it anew"
    );
}
