//! The JSON Schema of the configuration.

use std::fmt::Display;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Settings;

/// The JSON Schema (draft 2020-12) of `rota.toml`, as `rota config schema` prints it.
pub fn schema() -> Value {
    let generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Settings>();
    schema.insert("title".to_owned(), "rota.toml".into());
    schema.to_value()
}

/// The keys of a section of the schema.
pub(crate) fn keys_of(section: &str) -> Vec<String> {
    let schema = schema();
    let name = schema.pointer(&format!("/properties/{section}/$ref")).and_then(Value::as_str);
    let section = name.and_then(|name| schema.pointer(name.trim_start_matches('#')));
    let properties = section.and_then(|section| section.get("properties")).and_then(Value::as_object);
    properties.map(|keys| keys.keys().cloned().collect()).unwrap_or_default()
}

/// The schema of a table, put together key by key.
pub(crate) struct Object {
    description: String,
    properties: Map<String, Value>,
    required: Vec<String>,
}

impl Object {
    pub(crate) fn new(doc: &[&str]) -> Self {
        Self { description: text(doc), properties: Map::new(), required: Vec::new() }
    }

    pub(crate) fn required(
        &mut self,
        key: &str,
        schema: Schema,
        doc: &[&str],
        bounds: Option<(&dyn Display, &dyn Display)>,
    ) {
        self.required.push(key.to_owned());
        self.property(key, schema, described(doc, bounds), None);
    }

    pub(crate) fn optional<T: Serialize>(
        &mut self,
        key: &str,
        schema: Schema,
        doc: &[&str],
        default: &T,
        bounds: Option<(&dyn Display, &dyn Display)>,
    ) {
        // A default that is a table is said key by key in that table's own schema.
        let default = serde_json::to_value(default).ok().filter(|value| !value.is_null() && !value.is_object());
        self.property(key, schema, described(doc, bounds), default);
    }

    fn property(&mut self, key: &str, mut schema: Schema, description: String, default: Option<Value>) {
        schema.insert("description".to_owned(), description.into());
        if let Some(default) = default {
            schema.insert("default".to_owned(), default);
        }
        self.properties.insert(key.to_owned(), schema.to_value());
    }

    pub(crate) fn into_schema(self) -> Schema {
        let mut schema = schemars::json_schema!({
            "description": self.description,
            "type": "object",
            "properties": self.properties,
            "additionalProperties": false,
        });
        if !self.required.is_empty() {
            schema.insert("required".to_owned(), self.required.into());
        }
        schema
    }
}

fn described(doc: &[&str], bounds: Option<(&dyn Display, &dyn Display)>) -> String {
    let bounds = bounds.map(|(least, most)| format!(" Between {least} and {most}."));
    text(doc) + &bounds.unwrap_or_default()
}

/// One word of an enumeration.
pub(crate) fn choice(word: &str, doc: &[&str]) -> Value {
    json!({ "const": word, "description": text(doc) })
}

/// A doc comment as running text.
pub(crate) fn text(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}
