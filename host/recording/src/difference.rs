//! Where a replay leaves its recording, as lines that can be shown as a difference.

use serde_json::Value;

/// A difference between what was recorded and what a replay does.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The number of the recorded call; where the recording has no more, of the last one.
    pub call: u64,
    /// What differs, in one line.
    pub what: String,
    /// What was recorded: several lines of text, or none.
    pub recorded: String,
    /// What the replay does.
    pub replayed: String,
}

impl Difference {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        serde_json::json!({ "call": self.call, "what": self.what, "recorded": self.recorded, "replayed": self.replayed })
    }
}

/// A call in lines: the import, and each argument in lines of its own.
pub(crate) fn lines_of_call(operation: &str, on: Option<u64>, arguments: &Value) -> String {
    let mut text = operation.to_owned();
    if let Some(on) = on {
        text.push_str(&format!("  (on what call {on} gave)"));
    }
    text.push('\n');
    if let Value::Object(fields) = arguments {
        for (name, value) in fields {
            push_argument(&mut text, name, value);
        }
    }
    text
}

fn push_argument(text: &mut String, name: &str, value: &Value) {
    match value {
        // A statement reads as it was written.
        Value::String(words) if words.contains('\n') => {
            text.push_str(&format!("  {name}:\n"));
            for line in words.lines() {
                text.push_str(&format!("    {line}\n"));
            }
        }
        Value::Array(items) if items.len() > 1 => {
            text.push_str(&format!("  {name}:\n"));
            for item in items {
                text.push_str(&format!("    {item}\n"));
            }
        }
        value => text.push_str(&format!("  {name}: {value}\n")),
    }
}

/// A value in lines.
pub(crate) fn lines_of(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_statement_reads_as_it_was_written() {
        let call = lines_of_call(
            "sql.session.query",
            Some(1),
            &json!({ "statement": "select 1\n  from t", "parameters": [] }),
        );
        assert_eq!(
            call,
            "sql.session.query  (on what call 1 gave)\n  statement:\n    select 1\n      from t\n  parameters: []\n"
        );
    }
}
