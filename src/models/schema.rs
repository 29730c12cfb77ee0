//! What a `[model]` may say, as a JSON schema: one alternative for each kind.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{Settings, autoencoder, classifier, vae};

impl JsonSchema for Settings {
    fn schema_name() -> Cow<'static, str> {
        "Model".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kinds = Settings::KINDS.map(|kind| {
            let mut schema = match kind {
                "vae" => vae::Settings::json_schema(generator),
                "classifier" => classifier::Settings::json_schema(generator),
                _ => autoencoder::Settings::json_schema(generator),
            };
            name_kind(&mut schema, kind);
            schema
        });
        json_schema!({ "oneOf": kinds })
    }
}

/// Adds the key `kind`, which every kind but the default one has to say.
fn name_kind(schema: &mut Schema, kind: &str) {
    let object = schema.ensure_object();
    let properties = object.entry("properties").or_insert_with(|| json!({}));
    properties["kind"] = json!({ "const": kind, "description": "The kind of the model." });
    if kind != Settings::DEFAULT_KIND {
        let required = object.entry("required").or_insert_with(|| json!([]));
        if let Value::Array(required) = required {
            required.push(json!("kind"));
        }
    }
}
