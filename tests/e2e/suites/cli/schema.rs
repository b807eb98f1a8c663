//! docs/run.schema.json against what is printed.

use rota_tests::Said;
use serde_json::{Value, json};

/// The schema, closed: it is open for what later versions add, and a property that it does not describe is a defect of this one.
fn closed() -> Value {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/run.schema.json"));
    let mut schema: Value = serde_json::from_str(text).expect("docs/run.schema.json is JSON");
    close(&mut schema);
    schema
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(close);
            if object.get("properties").is_some_and(Value::is_object) && object.contains_key("type") {
                object.insert("additionalProperties".into(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// What a command printed, which must be what a definition of the schema says.
pub(crate) fn valid(definition: &str, said: &Said) -> Value {
    let value = said.json().unwrap();
    check(definition, &value);
    value
}

pub(crate) fn check(definition: &str, value: &Value) {
    let mut schema = closed();
    schema["$ref"] = json!(format!("#/$defs/{definition}"));
    let validator = jsonschema::validator_for(&schema).expect("a sound schema");
    let problems: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{definition}: {problems:#?} in {value:#}");
}

#[test]
fn the_schema_is_sound_and_refuses_what_it_should() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/run.schema.json"));
    let schema: Value = serde_json::from_str(text).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&closed()).unwrap();
    let sound = json!({ "run": null, "report": null, "effects": [], "error": { "kind": "usage", "message": "m", "hint": null } });
    assert!(validator.is_valid(&sound));
    for wrong in [json!({}), json!([]), json!({ "run": null, "report": null, "effects": [], "error": null, "more": 1 })]
    {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}
