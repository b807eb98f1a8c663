//! What an effect would change, as a person reads it: one line a field.

use serde_json::Value;

/// The most lines that are shown.
const LINES: usize = 100;
/// The longest value that is shown.
const VALUE: usize = 200;

/// Fields that change with every write and say nothing.
const NOISE: [&str; 5] = [
    "/metadata/managedFields",
    "/metadata/resourceVersion",
    "/metadata/generation",
    "/metadata/creationTimestamp",
    "/metadata/uid",
];

/// The difference between an object before (null: there was none) and after. Values below /data and /stringData of a secret are not shown.
pub fn difference(before: &Value, after: &Value, secret: bool) -> String {
    let mut lines = Vec::new();
    walk(before, after, &mut String::new(), secret, &mut lines);
    let more = lines.len().saturating_sub(LINES);
    lines.truncate(LINES);
    if more > 0 {
        lines.push(format!("... and {more} more"));
    }
    if lines.is_empty() { "no difference".to_owned() } else { lines.join("\n") }
}

fn walk(before: &Value, after: &Value, path: &mut String, secret: bool, lines: &mut Vec<String>) {
    if before == after || NOISE.contains(&path.as_str()) || path == "/status" {
        return;
    }
    let hidden =
        secret && ["/data", "/stringData", "/metadata/annotations"].iter().any(|field| path.starts_with(field));
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let end = path.len();
                path.push('/');
                path.push_str(key);
                walk(old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null), path, secret, lines);
                path.truncate(end);
            }
        }
        // What is new is shown field by field, too; what an empty place gets is one line.
        (Value::Null, Value::Object(new)) if !new.is_empty() && path.matches('/').count() < 4 => {
            walk(&Value::Object(serde_json::Map::new()), after, path, secret, lines);
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (number, (old, new)) in old.iter().zip(new).enumerate() {
                let end = path.len();
                path.push_str(&format!("/{number}"));
                walk(old, new, path, secret, lines);
                path.truncate(end);
            }
        }
        _ => lines.push(line(before, after, path, hidden)),
    }
}

fn line(before: &Value, after: &Value, path: &str, hidden: bool) -> String {
    let shown = |value: &Value| if hidden { "(not shown)".to_owned() } else { short(value) };
    match (before, after) {
        (Value::Null, new) => format!("+ {path}: {}", shown(new)),
        (old, Value::Null) => format!("- {path}: {}", shown(old)),
        (old, new) => format!("~ {path}: {} -> {}", shown(old), shown(new)),
    }
}

/// A value, cut where it is long, and on one line.
pub(crate) fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= VALUE { text } else { text.chars().take(VALUE).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_changes_is_shown_field_by_field() {
        let before = json!({ "metadata": { "resourceVersion": "1" }, "spec": { "replicas": 1, "old": true, "list": [{ "a": 1 }] } });
        let after = json!({ "metadata": { "resourceVersion": "2" }, "spec": { "replicas": 3, "new": "x", "list": [{ "a": 2 }] } });
        let lines = difference(&before, &after, false);
        assert_eq!(lines, "~ /spec/replicas: 1 -> 3\n- /spec/old: true\n~ /spec/list/0/a: 1 -> 2\n+ /spec/new: \"x\"");
        assert_eq!(difference(&before, &before, false), "no difference");
    }

    #[test]
    fn of_a_secret_only_the_keys_are_shown() {
        let lines =
            difference(&json!({ "data": { "a": "b2xk" } }), &json!({ "data": { "a": "bmV3", "b": "x" } }), true);
        assert_eq!(lines, "~ /data/a: (not shown) -> (not shown)\n+ /data/b: (not shown)");
    }
}
