//! Parameters: from `-p key=value` and files to the JSON object that a procedure's schema allows.

use serde_json::{Map, Value};

/// What is wrong with the parameters. Nothing has been contacted yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Not `key=value`.
    #[error("`{0}` is no parameter: write -p key=value, or -p @file.json")]
    Form(String),
    /// The file cannot be read.
    #[error("the parameter file {path} cannot be read: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// No such parameter.
    #[error("`{plugin}` has no parameter `{key}`{}; it has: {}", nearest.as_ref().map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default(), known.join(", "))]
    Unknown {
        /// The plugin.
        plugin: String,
        /// What was given.
        key: String,
        /// The nearest that there is.
        nearest: Option<String>,
        /// All that there are.
        known: Vec<String>,
    },
    /// Given twice.
    #[error("the parameter `{0}` is given twice")]
    Twice(String),
    /// The schema refuses the value.
    #[error("the parameter{} {message}", if path.is_empty() { "s:".to_owned() } else { format!(" `{path}`:") })]
    Invalid {
        /// Where, as `a.b.0`; empty for the object itself.
        path: String,
        /// What the schema says.
        message: String,
    },
}

/// Read `-p` arguments. A value is read as the schema's type of its key: text stays text, everything else is read as JSON.
///
/// # Errors
/// The first argument that cannot be read.
pub(crate) fn from_arguments(
    plugin: &str,
    schema: &Value,
    arguments: &[String],
) -> Result<Map<String, Value>, ParameterError> {
    let mut parameters = Map::new();
    for argument in arguments {
        if let Some(path) = argument.strip_prefix('@') {
            for (key, value) in from_file(path)? {
                insert(&mut parameters, key, value)?;
            }
            continue;
        }
        let (key, text) = argument.split_once('=').ok_or_else(|| ParameterError::Form(argument.clone()))?;
        known(plugin, schema, key)?;
        insert(&mut parameters, key.to_owned(), typed(property(schema, key), schema, text))?;
    }
    Ok(parameters)
}

fn insert(parameters: &mut Map<String, Value>, key: String, value: Value) -> Result<(), ParameterError> {
    if parameters.contains_key(&key) {
        return Err(ParameterError::Twice(key));
    }
    parameters.insert(key, value);
    Ok(())
}

fn from_file(path: &str) -> Result<Map<String, Value>, ParameterError> {
    let fail = |reason: String| ParameterError::File { path: path.into(), reason };
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    match serde_json::from_str(&text).map_err(|e| fail(e.to_string()))? {
        Value::Object(map) => Ok(map),
        _ => Err(fail("it does not hold a JSON object".into())),
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    properties(schema).and_then(|p| p.get(key))
}

/// Refuse a key that the schema does not have, with the nearest that it has.
fn known(plugin: &str, schema: &Value, key: &str) -> Result<(), ParameterError> {
    if property(schema, key).is_some() {
        return Ok(());
    }
    let known: Vec<String> = properties(schema).map(|p| p.keys().cloned().collect()).unwrap_or_default();
    let nearest = known
        .iter()
        .map(|k| (strsim::jaro_winkler(k, key), k))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k.clone());
    Err(ParameterError::Unknown { plugin: plugin.into(), key: key.into(), nearest, known })
}

/// How many parts of a schema are looked at: it is a plugin's, and its references may run in circles.
const STEPS: u16 = 200;

fn step(steps: &mut u16) -> bool {
    *steps = steps.saturating_sub(1);
    *steps > 0
}

/// The words that a property allows, where it allows only certain ones.
fn choices(property: &Value, root: &Value, steps: &mut u16) -> Vec<String> {
    if !step(steps) {
        return Vec::new();
    }
    let mut found: Vec<String> =
        property.get("enum").and_then(Value::as_array).into_iter().flatten().map(text_of).collect();
    found.extend(property.get("const").map(text_of));
    let within = ["anyOf", "oneOf"].iter().filter_map(|k| property.get(k)).filter_map(Value::as_array).flatten();
    found.extend(within.chain(property.get("items")).flat_map(|p| choices(p, root, steps)));
    let target = property.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
    if let Some(target) = target.and_then(|pointer| root.pointer(pointer)) {
        found.extend(choices(target, root, steps));
    }
    found
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The types that a property allows, references and alternatives followed.
fn types(property: &Value, root: &Value, steps: &mut u16) -> Vec<String> {
    if !step(steps) {
        return Vec::new();
    }
    let mut found: Vec<String> = match property.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    for alternative in
        ["anyOf", "oneOf", "allOf"].iter().filter_map(|k| property.get(k)).filter_map(Value::as_array).flatten()
    {
        found.extend(types(alternative, root, steps));
    }
    if let Some(target) = property
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|r| r.strip_prefix('#'))
        .and_then(|pointer| root.pointer(pointer))
    {
        found.extend(types(target, root, steps));
    }
    if property.get("enum").is_some() || property.get("const").is_some_and(Value::is_string) {
        found.push("string".into());
    }
    found
}

fn typed(property: Option<&Value>, root: &Value, text: &str) -> Value {
    let types = property.map(|p| types(p, root, &mut STEPS.clone())).unwrap_or_default();
    let is = |t: &str| types.iter().any(|x| x == t);
    if is("null") && text == "null" {
        return Value::Null;
    }
    let read: Option<Value> = serde_json::from_str(text).ok();
    match read {
        Some(value @ (Value::Number(_) | Value::Bool(_))) if !is("string") => value,
        Some(value @ (Value::Array(_) | Value::Object(_))) if is("array") || is("object") => value,
        // `-p tables=a,b` for a list of texts.
        _ if is("array") && !is("string") && !text.starts_with('[') => {
            if text.is_empty() {
                Value::Array(Vec::new())
            } else {
                Value::Array(text.split(',').map(|part| Value::String(part.trim().to_owned())).collect())
            }
        }
        _ => Value::String(text.to_owned()),
    }
}

/// Check parameters against the schema and answer them as text for the procedure.
///
/// # Errors
/// The first that does not satisfy it, with its path.
pub(crate) fn check(plugin: &str, schema: &Value, parameters: &Map<String, Value>) -> Result<String, ParameterError> {
    for key in parameters.keys() {
        known(plugin, schema, key)?;
    }
    let instance = Value::Object(parameters.clone());
    let validator = jsonschema::validator_for(schema).map_err(|e| ParameterError::Invalid {
        path: String::new(),
        message: format!("cannot be checked: the plugin's schema is not sound ({e})"),
    })?;
    if let Some(error) = validator.iter_errors(&instance).next() {
        let path = error.instance_path().to_string().trim_start_matches('/').replace('/', ".");
        let choices = property(schema, &path).map(|p| choices(p, schema, &mut STEPS.clone())).unwrap_or_default();
        let message = if choices.is_empty() {
            error.to_string()
        } else {
            format!("{} is not one of: {}", error.instance(), choices.join(", "))
        };
        return Err(ParameterError::Invalid { path, message });
    }
    Ok(instance.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({
            "type": "object", "additionalProperties": false, "required": ["database"],
            "properties": {
                "database": { "type": "string" },
                "keep_daily": { "type": "integer", "minimum": 0, "default": 7 },
                "tables": { "type": "array", "items": { "type": "string" } },
                "level": { "$ref": "#/$defs/Level" }
            },
            "$defs": { "Level": { "enum": ["stored", "decoded"] } }
        })
    }

    fn read(arguments: &[&str]) -> Result<Map<String, Value>, ParameterError> {
        from_arguments("p", &schema(), &arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn values_take_the_type_of_their_schema() {
        let parameters = read(&["database=16", "keep_daily=3", "tables=a, b", "level=stored"]).unwrap();
        assert_eq!(
            Value::Object(parameters),
            json!({ "database": "16", "keep_daily": 3, "tables": ["a", "b"], "level": "stored" })
        );
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let said = read(&["keep_dayly=3"]).unwrap_err().to_string();
        assert!(said.contains("did you mean `keep_daily`?"), "{said}");
    }

    #[test]
    fn a_wrong_type_or_range_names_the_parameter() {
        let said = check("p", &schema(), &read(&["database=x", "keep_daily=many"]).unwrap()).unwrap_err().to_string();
        assert!(said.contains("`keep_daily`") && said.contains("integer"), "{said}");
        let said = check("p", &schema(), &read(&["database=x", "keep_daily=-1"]).unwrap()).unwrap_err().to_string();
        assert!(said.contains("`keep_daily`") && said.contains("minimum"), "{said}");
        let said = check("p", &schema(), &Map::new()).unwrap_err().to_string();
        assert!(said.contains("database"), "{said}");
    }

    #[test]
    fn a_wrong_word_names_the_right_ones() {
        let said = check("p", &schema(), &read(&["database=x", "level=sorted"]).unwrap()).unwrap_err().to_string();
        assert!(said.contains("`level`") && said.contains("stored, decoded"), "{said}");
    }

    #[test]
    fn twice_and_formless_are_refused() {
        assert_eq!(read(&["database=x", "database=y"]), Err(ParameterError::Twice("database".into())));
        assert_eq!(read(&["database"]), Err(ParameterError::Form("database".into())));
    }
}
