//! What a recipe may say: as a JSON schema for editors, and key by key for people. Both are made from the
//! types that recipes are read into, and from their doc comments.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Recipe, hint};

/// Says what `extends` does: the one key that is gone once a recipe is read.
const EXTENDS: &str = "Another recipe, a built-in one or a file beside this one. Whatever this recipe does \
     not say is taken from there, table by table and key by key; `name` and `description` are not taken.";

/// Says what a phase is.
const PHASE: &str = "The recipe trains several times, once for each phase. A phase says under `model`, \
     `noise` and `train` what differs from the recipe's own tables. All but the first begin with the model \
     of the phase before, unless they say `train.from`; the last one's model is judged.";

/// The JSON schema of a recipe, for editors that check TOML as it is typed.
pub fn schema() -> Value {
    let whole = of_whole();
    let mut part = whole.clone();
    require_nothing(&mut part);
    part["required"] = json!(["name", "extends"]);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of diabolo",
        "if": { "required": ["extends"] },
    });
    schema["then"] = part;
    schema["else"] = whole;
    schema
}

/// The schema of a recipe that says everything itself, with the key `extends` among the others.
fn of_whole() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<Recipe>();
    let mut schema = schema.to_value();
    let phase = of_phase(&schema["properties"]);
    schema["properties"]["phase"] = phase;
    schema["properties"]["extends"] = json!({ "type": "string", "description": EXTENDS });
    schema
}

/// The schema of a list of phases, each of which says what differs from the recipe's own tables.
fn of_phase(properties: &Value) -> Value {
    let name = json!({ "type": "string", "description": "Names the phase, and its folder." });
    let mut of_phase = json!({ "name": name });
    for table in ["model", "noise", "train"] {
        let mut schema = properties[table].clone();
        require_nothing(&mut schema);
        of_phase[table] = schema;
    }
    json!({
        "type": "array",
        "description": PHASE,
        "items": {
            "type": "object",
            "properties": of_phase,
            "required": ["name"],
            "additionalProperties": false,
        },
    })
}

/// Takes every `required` away: what a recipe does not say may stand in the one that it extends. A table
/// may then fit several kinds of models.
fn require_nothing(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("required");
            if let Some(alternatives) = object.remove("oneOf") {
                object.insert("anyOf".to_owned(), alternatives);
            }
            object.values_mut().for_each(require_nothing);
        }
        Value::Array(values) => values.iter_mut().for_each(require_nothing),
        _ => {}
    }
}

/// One key of a recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its path: `train.batch`.
    pub path: String,
    /// The kind of model that takes it, if it is a key of `[model]`.
    pub kind: Option<String>,
    /// What may stand there: “whole number”, `"relu"`, …
    pub values: String,
    /// What is meant if the key is absent; none if it must not be, or if its absence means something that
    /// no value means.
    pub default: Option<String>,
    /// Whether a recipe must say it.
    pub is_required: bool,
    /// What it means.
    pub meaning: String,
    /// What each value means, if there are only a few.
    pub choices: Vec<(String, String)>,
}

impl Key {
    /// What may stand there, and what is meant if nothing does, in one line.
    pub fn facts(&self) -> String {
        let absent = match &self.default {
            _ if self.is_required => "must be given".to_owned(),
            Some(default) => format!("default {default}"),
            None => "optional".to_owned(),
        };
        format!("{}; {absent}", self.values)
    }

    /// A line that says something right for it, if one is known.
    pub fn example(&self) -> Option<&'static str> {
        Some(hint::example(&self.path)).filter(|&example| example != hint::example(""))
    }
}

/// Every key of a recipe, in the order of its tables.
pub fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    let schema = of_whole();
    let tables = [
        "name",
        "description",
        "extends",
        "phase",
        "data",
        "model",
        "noise",
        "train",
        "evaluate",
    ];
    for name in tables {
        list(
            &mut keys,
            name,
            None,
            &schema["properties"][name],
            is_required(&schema, name),
        );
    }
    keys
}

/// The keys that a path or its last part names.
pub fn keys_named(asked: &str) -> Vec<Key> {
    let mut keys = keys();
    let is_table = |key: &Key| key.path.starts_with(&format!("{asked}."));
    let is_named = |key: &Key| key.path == asked || key.path.ends_with(&format!(".{asked}"));
    keys.retain(|key| is_named(key) || is_table(key));
    keys
}

/// Whether a kind of model has a key of this name in its table.
pub(super) fn has_model_key(kind: &str, name: &str) -> bool {
    let path = format!("model.{name}");
    let is_it = |key: &Key| key.kind.as_deref() == Some(kind) && key.path == path;
    keys().iter().any(is_it)
}

/// The path of the key that is most like what was asked for.
pub fn nearest_key(asked: &str) -> String {
    let keys = keys();
    let last = |key: &Key| key.path.rsplit('.').next().map(str::to_owned);
    let names: Vec<String> = keys.iter().filter_map(last).collect();
    let words = keys.iter().map(|key| key.path.as_str());
    let nearest = hint::nearest(asked, words.chain(names.iter().map(String::as_str)));
    nearest.unwrap_or("train.batch").to_owned()
}

fn is_required(schema: &Value, name: &str) -> bool {
    let required = schema["required"].as_array();
    required.is_some_and(|required| required.iter().any(|key| key == name))
}

/// Adds a key, or the keys of a table, to the list.
fn list(keys: &mut Vec<Key>, path: &str, kind: Option<&str>, schema: &Value, required: bool) {
    if let Some(kinds) = schema["oneOf"].as_array().filter(|_| path == "model") {
        for schema in kinds {
            let kind = schema["properties"]["kind"]["const"].as_str();
            table(keys, path, kind, schema);
        }
        return;
    }
    if schema["properties"].is_object() {
        return table(keys, path, kind, schema);
    }
    keys.push(Key {
        path: path.to_owned(),
        kind: kind.map(str::to_owned),
        values: values(schema),
        default: schema
            .get("default")
            .filter(|value| !value.is_null())
            .map(written),
        is_required: required,
        meaning: text(schema),
        choices: choices(schema),
    });
    // The keys of the tables in a list; a phase's are those of the recipe's own tables.
    if path != "phase" && schema["items"]["properties"].is_object() {
        table(keys, path, kind, &schema["items"]);
    }
}

fn table(keys: &mut Vec<Key>, path: &str, kind: Option<&str>, schema: &Value) {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    for (name, of_key) in properties {
        let path = format!("{path}.{name}");
        list(keys, &path, kind, of_key, is_required(schema, name));
    }
}

/// A doc comment as running text.
fn text(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace('\n', " ")
        .replace("\\[", "[")
        .replace("\\]", "]")
}

/// What may stand at a key.
fn values(schema: &Value) -> String {
    if let Some(value) = schema.get("const") {
        return written(value);
    }
    for of in ["oneOf", "anyOf"] {
        if let Some(alternatives) = schema[of].as_array() {
            let alternatives = alternatives.iter().filter(|of| of["type"] != "null");
            return alternatives.map(values).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(names) = schema["enum"].as_array() {
        let names = names.iter().filter(|name| !name.is_null());
        return names.map(written).collect::<Vec<_>>().join(" or ");
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null"),
        kind => Some(kind),
    };
    match kind.and_then(Value::as_str) {
        Some("integer") => "whole number".to_owned(),
        Some("number") => "number".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("string") => "text".to_owned(),
        Some("array") => match schema["maxItems"].as_u64() {
            Some(length) => format!("{length} of: {}", values(&schema["items"])),
            None => format!("list of: {}", values(&schema["items"])),
        },
        Some("object") => "table".to_owned(),
        _ => "value".to_owned(),
    }
}

/// The values of an enumeration with what they mean.
fn choices(schema: &Value) -> Vec<(String, String)> {
    for of in ["oneOf", "anyOf"] {
        let Some(values) = schema[of].as_array() else {
            continue;
        };
        let named = values.iter().filter_map(|value| {
            let name = value.get("const")?;
            Some((written(name), text(value)))
        });
        let named: Vec<_> = named.collect();
        if !named.is_empty() {
            return named;
        }
        // An enumeration that may be absent.
        return values.iter().flat_map(choices).collect();
    }
    Vec::new()
}

/// A value as TOML has it.
fn written(value: &Value) -> String {
    match value {
        // Single precision has no more digits than these.
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default() as f32;
            format!("{number:?}")
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(written).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}

/// The reference of all keys as Markdown.
pub fn reference() -> String {
    let mut out = String::from(
        "# Recipes: every key\n\n\
         A recipe is a TOML file: a whole experiment. `diabolo recipes` lists the built-in ones, \
         `diabolo recipes show NAME` prints one with its comments, `diabolo recipes check FILE` checks \
         yours without training, `diabolo recipes explain KEY` prints what stands here about a key, and \
         `diabolo recipes schema` writes a JSON schema, by which editors complete and check keys.\n\n\
         <!-- Written by `diabolo recipes explain --markdown`. -->\n",
    );
    let keys = keys();
    let mut section = String::new();
    for key in &keys {
        let table = key.path.split_once('.').map_or("", |(table, _)| table);
        let of_kind = key
            .kind
            .as_ref()
            .map(|kind| format!(" with `kind = \"{kind}\"`"));
        let title = match table {
            "" => "At the top".to_owned(),
            table => format!("`[{table}]`{}", of_kind.unwrap_or_default()),
        };
        if title != section {
            out += &format!("\n## {title}\n");
            section = title;
        }
        out += &format!("\n### `{}`\n\n{}\n", key.path, key.facts());
        out += &format!("\n{}\n", key.meaning);
        if !key.choices.is_empty() {
            out.push('\n');
        }
        for (name, meaning) in &key.choices {
            out += &format!("- `{name}`: {meaning}\n");
        }
        if let Some(example) = key.example() {
            out += &format!("\nExample: `{example}`\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::BUILT_IN;

    fn json_of(text: &str) -> Value {
        let table: toml::Table = toml::from_str(text).expect("TOML");
        serde_json::to_value(table).expect("plain data")
    }

    #[test]
    fn every_built_in_recipe_fits_the_schema_and_a_wrong_key_or_type_does_not() {
        let validator = jsonschema::validator_for(&schema()).expect("a schema");
        for (name, text) in BUILT_IN {
            let errors: Vec<String> = validator
                .iter_errors(&json_of(text))
                .map(|e| e.to_string())
                .collect();
            assert!(errors.is_empty(), "{name}: {errors:?}");
            for (from, to) in [
                ("[train]", "[train]\nepoch = 3"),
                ("[train]", "[train]\nschedule = 7"),
                ("[model]", "[model]\nkind = \"octopus\""),
                ("[data]", "[date]"),
            ] {
                if !text.contains(from) {
                    continue; // it stands in the recipe that this one extends
                }
                let wrong = text.replacen(from, to, 1);
                let Ok(wrong) = toml::from_str::<toml::Table>(&wrong) else {
                    continue; // the key is there already
                };
                let wrong = serde_json::to_value(wrong).expect("plain data");
                assert!(!validator.is_valid(&wrong), "{name} with {to}");
            }
        }
    }

    #[test]
    fn a_recipe_that_extends_another_need_not_say_more_than_its_name() {
        let validator = jsonschema::validator_for(&schema()).expect("a schema");
        let text = "name = \"mine\"\nextends = \"mnist-dense\"\n[model]\ncode = 32\n";
        assert!(validator.is_valid(&json_of(text)));
        assert!(!validator.is_valid(&json_of(&text.replace("extends", "extend"))));
        assert!(!validator.is_valid(&json_of(&text.replace("code", "codes"))));
    }

    #[test]
    fn every_key_says_what_it_means() {
        for key in keys() {
            assert!(key.meaning.len() > 15, "{key:?}");
            assert!(key.meaning.ends_with('.'), "{key:?}");
        }
    }

    #[test]
    fn keys_are_found_by_path_by_last_part_and_by_table() {
        let paths = |asked: &str| -> Vec<String> {
            keys_named(asked).into_iter().map(|key| key.path).collect()
        };
        assert_eq!(paths("train.batch"), ["train.batch"]);
        assert_eq!(paths("batch"), ["train.batch"]);
        assert_eq!(paths("code").len(), 3, "one for each kind");
        assert!(paths("noise").len() > 5);
        assert!(paths("bacth").is_empty());
        assert_eq!(nearest_key("bacth"), "batch");
    }
}
