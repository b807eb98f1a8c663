//! What came out, as what must the next time.

use crate::came::Came;
use crate::written::{inline, text};
use serde_json::{Value, json};

/// What came out, as what must.
pub(super) fn expected(came: &Came) -> String {
    let mut lines = vec!["\n[case.expect]".to_owned()];
    if came.ended != "succeeded" {
        lines.push(format!("ended = {}", text(&came.ended)));
    }
    if let Some(report) = &came.report {
        lines.push(format!("status = {}", text(report.status.as_str())));
        lines.push(format!("summary = {}", text(&steady(&report.summary))));
        let titles: Vec<Value> = report
            .findings
            .iter()
            .map(|finding| json!(steady(&format!("{}: {}", finding.severity.as_str(), finding.title))))
            .collect();
        lines.push(format!("findings = {}", inline(&Value::Array(titles))));
        let data: Value = serde_json::from_str(&report.data).unwrap_or_default();
        lines.push(format!("data = {}", inline(&lasting(&data))));
    }
    if let Some(cause) = came.failure.as_ref().filter(|_| came.ended == "failed") {
        let failure = json!({ "kind": cause.kind, "message": steady(&cause.message) });
        lines.push(format!("failure = {}", inline(&failure)));
    }
    let effects: String = came.effects.iter().map(|effect| format!("\n  {},", text(&line(&effect.line())))).collect();
    lines.push(if effects.is_empty() { "effects = []".to_owned() } else { format!("effects = [{effects}\n]") });
    let denied: Vec<Value> = came.denied.iter().map(|denied| json!(line(denied))).collect();
    if !denied.is_empty() {
        lines.push(format!("denied = {}", inline(&Value::Array(denied))));
    }
    if !came.compensations.is_empty() {
        let all: Vec<Value> = came.compensations.iter().map(|each| json!(line(&each.line()))).collect();
        lines.push(format!("compensations = {}", inline(&Value::Array(all))));
    }
    lines.join("\n") + "\n"
}

/// A line that is not longer than what people read; the rest is anything.
fn line(text: &str) -> String {
    const MOST: usize = 300;
    let text = steady(text);
    if text.len() <= MOST { text } else { format!("{}*", &text[..text.floor_char_boundary(MOST)]) }
}

/// A text without what is another the next time: numbers with a fraction, and lengths of time.
fn steady(text: &str) -> String {
    const UNITS: [&str; 12] = ["ms", "s", "min", "h", "d", "second", "seconds", "minutes", "hours", "days", "us", "ns"];
    let digits = |word: &str| word.trim_end_matches(|c: char| !c.is_ascii_digit()).to_owned();
    let whole = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == ',');
    let fraction = |word: &str| word.contains('.') && word.parse::<f64>().is_ok();
    let words: Vec<&str> = text.split(' ').collect();
    let steady = words.iter().enumerate().map(|(at, word)| {
        let unit = words.get(at + 1).map(|next| next.trim_matches(|c: char| !c.is_alphabetic()));
        let time = unit.is_some_and(|unit| UNITS.contains(&unit)) && whole(word);
        if time || fraction(&digits(word)) { "*" } else { *word }
    });
    steady.collect::<Vec<_>>().join(" ")
}

/// Data without what is another the next time: numbers with a fraction, and instants.
fn lasting(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => json!("*"),
        Value::String(text) if chrono::DateTime::parse_from_rfc3339(text).is_ok() => json!("*"),
        Value::String(text) => json!(steady(text)),
        Value::Null => json!("null"),
        Value::Array(all) => Value::Array(all.iter().map(lasting).collect()),
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), lasting(value))).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_another_the_next_time_is_left_open() {
        for (text, wanted) in [
            ("vacuumed 1 of 1 table in 0.1 s, 0 dead rows", "vacuumed 1 of 1 table in * s, 0 dead rows"),
            ("the server started 38 s ago", "the server started * s ago"),
            ("PostgreSQL 17.10 (primary)", "PostgreSQL * (primary)"),
            ("3 tables", "3 tables"),
        ] {
            assert_eq!(steady(text), wanted);
        }
        assert_eq!(
            lasting(&json!({ "a": 0.5, "b": 1, "c": "2026-11-27T01:00:00Z" })),
            json!({ "a": "*", "b": 1, "c": "*" })
        );
    }
}
