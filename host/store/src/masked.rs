//! The last wall in front of the disk: known secrets are hidden in every text, whoever should have done so before.

use serde_json::Value;
use std::borrow::Cow;

/// A text. PostgreSQL keeps no NUL, so neither engine does.
pub(crate) fn text(text: String) -> String {
    let text = if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text };
    match rota_telemetry::mask(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(masked) => masked,
    }
}

/// A text that is JSON, and stays JSON.
pub(crate) fn json(text: String) -> String {
    let text = if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text };
    match rota_telemetry::mask(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(masked) => serde_json::from_str(&text).map_or(masked, |parsed| value(parsed).to_string()),
    }
}

fn value(found: Value) -> Value {
    match found {
        Value::String(found) => Value::String(text(found)),
        Value::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, found)| (text(key), value(found))).collect())
        }
        Value::Number(number) => {
            let digits = number.to_string();
            let masked = text(digits.clone());
            if masked == digits { Value::Number(number) } else { Value::String(masked) }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_json_and_is_not_touched_without_need() {
        let _secrets = [rota_telemetry::Secret::new("c4nary\"of masked"), rota_telemetry::Secret::new("7319462850")];
        let found = json(r#"{ "a": "x c4nary\"of masked y", "b": [7319462850, 1.50], "c": null }"#.into());
        assert_eq!(found, r#"{"a":"x *** y","b":["***",1.5],"c":null}"#);
        assert_eq!(json(r#"{ "a": 1.50 }"#.into()), r#"{ "a": 1.50 }"#);
        assert_eq!(json("no JSON, 7319462850".into()), "no JSON, ***");
    }
}
