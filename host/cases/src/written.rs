//! Values as a case file writes them: TOML in one line.

use serde_json::Value;

/// A value in one line of TOML. What JSON calls null is left out of tables, and `"NULL"` in lists.
pub fn inline(value: &Value) -> String {
    match value {
        Value::Null => "\"NULL\"".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => {
            // Beyond TOML's 64 bits with a sign, and what it would not read back: as a text.
            if number.is_u64() && number.as_i64().is_none() { text(&number.to_string()) } else { number.to_string() }
        }
        Value::String(string) => text(string),
        Value::Array(all) => format!("[{}]", all.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let each = map
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| format!("{} = {}", self::key(key), inline(value)));
            let all = each.collect::<Vec<_>>().join(", ");
            if all.is_empty() { "{}".to_owned() } else { format!("{{ {all} }}") }
        }
    }
}

/// A text, quoted.
pub fn text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A key: bare where it can be.
pub fn key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { text(key) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_again() {
        let value = json!({
            "a b": "x\"\\\n\t\u{1}ü", "c": [1, -2, 1.5, true], "d": { "e": {} }, "f": [{ "g": "*" }], "h": i64::MIN,
        });
        let text = format!("value = {}", inline(&value));
        let table: toml::Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(crate::format::plain(table["value"].clone()), value, "{text}");
        assert_eq!(inline(&json!({ "a": null, "b": [null] })), r#"{ b = ["NULL"] }"#);
        assert_eq!(inline(&json!(u64::MAX)), r#""18446744073709551615""#);
    }
}
