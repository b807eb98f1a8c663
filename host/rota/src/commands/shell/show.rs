//! What a guest says, as people read it, or kept for programs.

use crate::commands::print;
use crate::output::{bold, coloured, dim, safe, table};
use serde_json::{Value, json};

/// Where what a guest says while it works goes.
pub(super) trait Shown: Send {
    /// A line of its: `print`, `table`, `finding`, `notice`.
    fn said(&mut self, line: &Value);
    /// A word of the host's.
    fn note(&mut self, text: &str);
}

/// Nobody looks.
pub(super) struct Nobody;

impl Shown for Nobody {
    fn said(&mut self, _: &Value) {}
    fn note(&mut self, _: &str) {}
}

/// On the terminal.
pub(super) struct Terminal;

impl Shown for Terminal {
    fn said(&mut self, line: &Value) {
        let text = |value: &Value| safe(value.as_str().unwrap_or_default());
        // A reader that went away is none of a statement's errors.
        let _ = match (line.get("print"), line.get("table"), line.get("finding"), line.get("notice")) {
            (Some(printed), ..) => print(&text(printed)),
            (_, Some(table), ..) => print(&table_of(table)),
            (_, _, Some(finding), _) => {
                let detail = text(&finding["detail"]);
                let detail = if detail.is_empty() { detail } else { format!("\n  {detail}") };
                let word = finding["severity"].as_str().unwrap_or_default();
                print(&format!("{} {}{detail}", coloured(word), text(&finding["title"])))
            }
            (.., Some(notice)) => {
                eprintln!("{}", dim(&text(notice)));
                Ok(())
            }
            _ => Ok(()),
        };
    }

    fn note(&mut self, text: &str) {
        eprintln!("{}", dim(text));
    }
}

/// For programs: what a statement said, all of it.
#[derive(Default)]
pub(super) struct Kept {
    output: Vec<Value>,
    tables: Vec<Value>,
    findings: Vec<Value>,
    notices: Vec<Value>,
}

impl Shown for Kept {
    fn said(&mut self, line: &Value) {
        let masked = masked(line);
        let lists = [
            ("print", &mut self.output),
            ("table", &mut self.tables),
            ("finding", &mut self.findings),
            ("notice", &mut self.notices),
        ];
        for (name, list) in lists {
            list.extend(masked.get(name).cloned());
        }
    }

    fn note(&mut self, _: &str) {}
}

impl Kept {
    /// Add it to what is said of the statement.
    pub(super) fn into(self, object: &mut Value) {
        object["output"] = Value::Array(self.output);
        object["tables"] = Value::Array(self.tables);
        object["findings"] = Value::Array(self.findings);
        object["notices"] = Value::Array(self.notices);
    }
}

/// Texts with secrets masked, names of fields as they are.
pub(super) fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(rota_telemetry::mask(text)),
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), masked(value))).collect(),
        other => other.clone(),
    }
}

/// A table, its numbers as they came: a key with separators is none that could be copied.
fn table_of(said: &Value) -> String {
    let columns: Vec<String> =
        said["columns"].as_array().into_iter().flatten().map(|name| safe(name.as_str().unwrap_or_default())).collect();
    let cells = |row: &Value| row.as_array().into_iter().flatten().map(cell).collect();
    let rows: Vec<Vec<String>> = said["rows"].as_array().into_iter().flatten().map(cells).collect();
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let text = table::plain(&names, &rows);
    match said["title"].as_str().filter(|title| !title.is_empty()) {
        Some(title) => format!("{}\n{text}", bold(&safe(title))),
        None => text,
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.into(),
        // A line's end is shown, and none.
        Value::String(text) => text.lines().map(safe).collect::<Vec<_>>().join(" \u{21b5} "),
        other => safe(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::table_of;
    use serde_json::json;

    #[test]
    fn rows_are_a_table_and_numbers_stay_as_they_are() {
        let said = json!({ "title": "", "columns": ["id", "name"], "rows": [[12345, "a\u{1b}[31m\nb"], [7, null]] });
        let text = table_of(&said);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[1].starts_with("12345  ") && lines[1].contains('\u{21b5}') && !text.contains("\u{1b}[31m"),
            "{text}"
        );
        assert!(lines[2].starts_with('7') && lines[2].ends_with('-'), "{text}");
    }
}
