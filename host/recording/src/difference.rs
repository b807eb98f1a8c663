//! Where a replay leaves its recording, as lines that can be shown as a difference.

use serde_json::Value;
use std::io;

/// The most of a value or a call that is put into lines, bytes.
const SHOWN: usize = 16 << 20;

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
    cut(text)
}

fn push_argument(text: &mut String, name: &str, value: &Value) {
    let room = SHOWN.saturating_sub(text.len());
    match value {
        // A statement reads as it was written.
        Value::String(words) if words.contains('\n') => {
            text.push_str(&format!("  {name}:\n"));
            for line in words[..words.floor_char_boundary(room)].lines() {
                text.push_str(&format!("    {line}\n"));
            }
        }
        Value::Array(items) if items.len() > 1 => {
            text.push_str(&format!("  {name}:\n"));
            for item in items {
                if text.len() > SHOWN {
                    break;
                }
                text.push_str(&format!("    {item}\n"));
            }
        }
        value if room > 0 => text.push_str(&format!("  {name}: {value}\n")),
        _ => {}
    }
}

/// What is longer than anybody reads ends with a line that says so.
fn cut(mut text: String) -> String {
    if text.len() > SHOWN {
        text.truncate(text.floor_char_boundary(SHOWN));
        text.push_str("\n... (the rest is not shown)\n");
    }
    text
}

/// A value in lines: of a large one, its beginning.
pub fn lines_of(value: &Value) -> String {
    let mut lines = Lines(Vec::new());
    // The indents of deep values make more of them than they are; one that has no more room ends it.
    let _ = serde_json::to_writer_pretty(&mut lines, value);
    let mut text =
        String::from_utf8(lines.0).unwrap_or_else(|cut| String::from_utf8_lossy(cut.as_bytes()).into_owned());
    text.push('\n');
    cut(text)
}

/// Text that is made to a certain length.
struct Lines(Vec<u8>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() > SHOWN {
            return Err(io::Error::other("it is long enough"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

    #[test]
    fn of_what_nobody_reads_the_beginning_is_shown() {
        let mut deep = json!(vec![0; 100 << 10]);
        for _ in 0..100 {
            deep = Value::Array(vec![deep]);
        }
        let rows = json!({ "rows": vec![json!("a".repeat(1 << 10)); 32 << 10], "more": "m" });
        for text in [lines_of(&deep), lines_of_call("sql.session.execute", None, &rows)] {
            assert!((SHOWN..SHOWN + 100).contains(&text.len()), "{}", text.len());
            assert!(text.ends_with("... (the rest is not shown)\n"));
        }
    }
}
