//! What came out, held against what is expected: everything that differs, each as a difference.

use crate::came::{Came, CompensationCame, EffectCame};
use crate::compare::{glob, partial};
use crate::format::{End, Entry, Expect, Failed};
use rota_contract::{Descriptor, Report};
use serde_json::{Map, Value, json};
use similar::TextDiff;
use std::fmt::Write as _;

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What: `effects`, `the report's summary`.
    pub what: String,
    /// How it differs, several lines.
    pub how: String,
}

impl Wrong {
    /// A thing and how it differs.
    pub fn new(what: impl Into<String>, how: impl Into<String>) -> Self {
        Self { what: what.into(), how: how.into() }
    }
}

/// Hold all that came out against what is expected.
pub(crate) fn check(expect: &Expect, came: &Came, descriptor: &Descriptor, compensation: bool) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    ended(expect, came, &mut wrong);
    match &came.report {
        Some(report) => of_report(expect, report, descriptor, came, &mut wrong),
        None => {
            let wanted = [
                ("status", expect.status.is_some()),
                ("summary", expect.summary.is_some()),
                ("findings", expect.findings.is_some()),
                ("tables", expect.tables.is_some()),
                ("metrics", expect.metrics.is_some()),
                ("data", expect.data.is_some()),
            ];
            let wanted: Vec<&str> = wanted.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
            // How it ended says it already, where that is not as expected.
            if !wanted.is_empty() && wrong.is_empty() {
                let none = if compensation { "a compensation has none" } else { "there is none" };
                wrong.push(Wrong::new("report", format!("{none}, and {} expected of it", is_or_are(&wanted))));
            }
        }
    }
    let none = Vec::new();
    let effects = expect.effects.as_ref().unwrap_or(&none);
    list("effects", effects, &came.effects, EffectCame::line, |each| each.line(), EffectCame::to_json, &mut wrong);
    let denied = expect.denied.as_ref().unwrap_or(&none);
    list("denied", denied, &came.denied, Clone::clone, Clone::clone, |text| json!({ "message": text }), &mut wrong);
    compensations(expect, came, &mut wrong);
    if let Some(steps) = &expect.steps {
        let there: Map<String, Value> = came
            .steps
            .iter()
            .map(|(name, result)| (name.clone(), result.clone().unwrap_or_else(|| json!("begun"))))
            .collect();
        differs("steps", steps, &Value::Object(there), &mut wrong);
    }
    if let Some(log) = &expect.log {
        logged(log, came, &mut wrong);
    }
    for (name, pattern) in expect.artifacts.iter().flatten() {
        match came.artifacts.get(name) {
            None => {
                let names: Vec<&str> = came.artifacts.keys().map(String::as_str).collect();
                let there = if names.is_empty() {
                    "there is none".to_owned()
                } else {
                    format!("there are: {}", names.join(", "))
                };
                wrong.push(Wrong::new(format!("artifact {name}"), there));
            }
            Some(text) if !glob::fits(pattern, text) => {
                wrong.push(Wrong::new(format!("artifact {name}"), of_texts(pattern, text)));
            }
            Some(_) => {}
        }
    }
    for (slot, expected) in &expect.slots {
        let there = came.slots.get(slot).cloned().unwrap_or_default();
        holds(slot, expected, &there, &mut wrong);
    }
    wrong
}

fn is_or_are(words: &[&str]) -> String {
    format!("{} {}", words.join(", "), if words.len() == 1 { "is" } else { "are" })
}

fn ended(expect: &Expect, came: &Came, wrong: &mut Vec<Wrong>) {
    let wanted = expect.end();
    if came.ended != wanted.as_str() {
        let why = came.failure.as_ref().map_or_else(
            || came.report.as_ref().map(|report| format!("\n  it reported: {}", report.summary)).unwrap_or_default(),
            |cause| {
                let code = cause.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
                let hint = cause.hint.as_ref().map(|hint| format!("\n  -> {hint}")).unwrap_or_default();
                format!("\n  {}{code}: {}{hint}", cause.kind, cause.message)
            },
        );
        wrong.push(Wrong::new("how it ended", format!("{}{why}", minus_plus(wanted.as_str(), &came.ended))));
        return;
    }
    if let Some(Failed { kind, code, message, hint }) = &expect.failure {
        let cause = came.failure.clone().unwrap_or_default();
        let pairs = [
            ("failure.kind", kind, Some(cause.kind)),
            ("failure.code", code, cause.code),
            ("failure.message", message, Some(cause.message)),
            ("failure.hint", hint, cause.hint),
        ];
        for (what, wanted, there) in pairs {
            match (wanted, there) {
                (Some(wanted), Some(there)) => text(what, wanted, &there, wrong),
                // A pattern of anything is one of something.
                (Some(wanted), None) if !wanted.is_empty() => {
                    wrong.push(Wrong::new(what, minus_plus(wanted, "(nothing)")));
                }
                _ => {}
            }
        }
    }
}

fn of_report(expect: &Expect, report: &Report, descriptor: &Descriptor, came: &Came, wrong: &mut Vec<Wrong>) {
    if let Some(status) = expect.status
        && status.as_str() != report.status.as_str()
    {
        wrong.push(Wrong::new("status", minus_plus(status.as_str(), report.status.as_str())));
    }
    if let Some(summary) = &expect.summary {
        text("summary", summary, &report.summary, wrong);
    }
    let whole = report.to_json();
    if let Some(findings) = &expect.findings {
        let there: Vec<Value> = whole["findings"].as_array().cloned().unwrap_or_default();
        let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let line = |finding: &Value| format!("{}: {}", word(finding, "severity"), word(finding, "title"));
        list("findings", findings, &there, line, |finding| word(finding, "title"), Value::clone, wrong);
    }
    if let Some(tables) = &expect.tables {
        let there: Map<String, Value> = whole["tables"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|table| (table["name"].as_str().unwrap_or_default().to_owned(), table["rows"].clone()))
            .collect();
        differs("tables", tables, &Value::Object(there), wrong);
    }
    if let Some(metrics) = &expect.metrics {
        differs("metrics", metrics, &metrics_of(report), wrong);
    }
    if let Some(data) = &expect.data {
        differs("data", data, &whole["data"], wrong);
    }
    // Programs read it by its schema: what is not as that says is wrong, whatever the case expects.
    if came.ended != End::Succeeded.as_str() {
        return;
    }
    let schema = serde_json::from_str::<Value>(&descriptor.report).map_err(|error| error.to_string());
    let validator = schema.and_then(|schema| jsonschema::validator_for(&schema).map_err(|error| error.to_string()));
    let validator = match validator {
        Ok(validator) => validator,
        // Nothing could be held against it, and that is no reason to pass.
        Err(why) => {
            wrong.push(Wrong::new("data", format!("the descriptor's schema of the report is none: {why}")));
            return;
        }
    };
    if let Some(error) = validator.iter_errors(&whole["data"]).next() {
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        wrong.push(Wrong::new(
            "data",
            format!("it is not as the descriptor's schema of the report says: {place}{error}"),
        ));
    }
}

/// Metrics by name; one that has labels, by `name{key=value}`.
fn metrics_of(report: &Report) -> Value {
    let mut all = Map::new();
    for metric in &report.metrics {
        let labels: Vec<String> = metric.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let name =
            if labels.is_empty() { metric.name.clone() } else { format!("{}{{{}}}", metric.name, labels.join(",")) };
        all.insert(name, json!(metric.value));
    }
    Value::Object(all)
}

fn compensations(expect: &Expect, came: &Came, wrong: &mut Vec<Wrong>) {
    match &expect.compensations {
        Some(expected) => {
            let all = &came.compensations;
            list(
                "compensations",
                expected,
                all,
                CompensationCame::line,
                // Without why it failed, and never without what became of it: a name alone would fit one that is still to be undone.
                |each| glob::plain(&format!("{}: {}", each.name, each.became)),
                CompensationCame::to_json,
                wrong,
            );
        }
        // Whoever says nothing expects nothing to be undone.
        None => {
            let undone = came.compensations.iter().filter(|each| matches!(each.became.as_str(), "undone" | "failed"));
            let lines: Vec<String> = undone.map(|each| format!("+ {}", each.line())).collect();
            if !lines.is_empty() {
                wrong.push(Wrong::new("compensations", lines.join("\n")));
            }
        }
    }
}

fn logged(expected: &[Entry], came: &Came, wrong: &mut Vec<Wrong>) {
    let mut lines = came.log.iter();
    for entry in expected.iter().filter(|entry| **entry != Entry::Others) {
        let found = lines.any(|line| match entry {
            Entry::Others => true,
            Entry::Line(pattern) => {
                glob::fits(pattern, &line.message) || glob::fits(pattern, &format!("{}: {}", line.level, line.message))
            }
            Entry::Has(map) => {
                let there = json!({ "level": line.level, "source": line.source, "message": line.message });
                partial::fits(&Value::Object(map.clone()), &there)
            }
        });
        if !found {
            let last: Vec<String> = came
                .log
                .iter()
                .rev()
                .take(10)
                .rev()
                .map(|line| format!("  {}: {}", line.level, line.message))
                .collect();
            let how = format!(
                "- {}\n  (not in this order among {} lines, the last:)\n{}",
                entry.shown(),
                came.log.len(),
                last.join("\n")
            );
            wrong.push(Wrong::new("log", how));
            return;
        }
    }
}

/// What a slot holds afterwards. `"(gone)"` says that there is no such thing.
fn holds(slot: &str, expected: &Map<String, Value>, there: &Value, wrong: &mut Vec<Wrong>) {
    for (what, expected) in expected {
        let there = there.get(what).cloned().unwrap_or_default();
        let Value::Object(expected) = expected else {
            // The objects of a cluster: each of them is there.
            let all = there.as_array().cloned().unwrap_or_default();
            for one in expected.as_array().into_iter().flatten() {
                if !all.iter().any(|object| partial::fits(one, object)) {
                    wrong.push(Wrong::new(
                        format!("slots.{slot}.{what}"),
                        format!("- {one}\n  (no object is like that)"),
                    ));
                }
            }
            continue;
        };
        for (name, value) in expected {
            let found = there.get(name);
            match (value == "(gone)", found) {
                (true, None) => {}
                (true, Some(_)) => {
                    wrong.push(Wrong::new(format!("slots.{slot}.{what}"), format!("+ {name} is still there")))
                }
                (false, None) => {
                    wrong.push(Wrong::new(format!("slots.{slot}.{what}"), format!("- {name} is not there")))
                }
                (false, Some(found)) => differs(&format!("slots.{slot}.{what}.{name}"), value, found, wrong),
            }
        }
    }
}

fn differs(what: &str, expected: &Value, there: &Value, wrong: &mut Vec<Wrong>) {
    let all = partial::differences(expected, there);
    if all.is_empty() {
        return;
    }
    let mut how = String::new();
    for each in all.iter().take(20) {
        let at = if each.at.is_empty() { String::new() } else { format!("{}: ", each.at) };
        let _ = writeln!(how, "- {at}{}", each.expected);
        match &each.found {
            Some(found) => {
                let _ = writeln!(how, "+ {at}{found}");
            }
            None => {
                let _ = writeln!(how, "+ {at}(nothing)");
            }
        }
    }
    if all.len() > 20 {
        let _ = writeln!(how, "  ... and {} more", all.len() - 20);
    }
    wrong.push(Wrong::new(what, how.trim_end()));
}

fn text(what: &str, pattern: &str, there: &str, wrong: &mut Vec<Wrong>) {
    if !glob::fits(pattern, there) {
        wrong.push(Wrong::new(what, of_texts(pattern, there)));
    }
}

fn minus_plus(wanted: &str, there: &str) -> String {
    format!("- {wanted}\n+ {there}")
}

/// Two texts: line by line where they have several.
fn of_texts(wanted: &str, there: &str) -> String {
    if wanted.lines().count() <= 1 && there.lines().count() <= 1 {
        return minus_plus(wanted, there);
    }
    let diff = TextDiff::from_lines(wanted, there);
    let text = diff.unified_diff().context_radius(2).to_string();
    // The marks of places in a file say nothing here.
    text.lines().filter(|line| !line.starts_with("@@")).take(60).collect::<Vec<_>>().join("\n")
}

/// A list, whole and in order.
#[allow(clippy::too_many_arguments, reason = "one list, and the ways to look at its elements")]
fn list<T>(
    what: &str,
    expected: &[Entry],
    there: &[T],
    line: impl Fn(&T) -> String,
    short: impl Fn(&T) -> String,
    whole: impl Fn(&T) -> Value,
    wrong: &mut Vec<Wrong>,
) {
    let fits = |entry: &Entry, one: &T| match entry {
        Entry::Others => false,
        Entry::Line(pattern) => glob::fits(pattern, &line(one)) || glob::fits(pattern, &short(one)),
        Entry::Has(map) => partial::fits(&Value::Object(map.clone()), &whole(one)),
    };
    if partial::sequence(expected, there, |entry| *entry == Entry::Others, fits) {
        return;
    }
    wrong.push(Wrong::new(what, aligned(expected, there, &line, fits)));
}

/// The expected and the found lines beside each other: those that fit in both, the others with a mark.
fn aligned<T>(
    expected: &[Entry],
    there: &[T],
    line: &impl Fn(&T) -> String,
    fits: impl Fn(&Entry, &T) -> bool,
) -> String {
    let (rows, columns) = (expected.len(), there.len());
    // How many can be paired from here on.
    let mut pairs = vec![vec![0_usize; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            pairs[row][column] = if fits(&expected[row], &there[column]) {
                pairs[row + 1][column + 1] + 1
            } else {
                pairs[row + 1][column].max(pairs[row][column + 1])
            };
        }
    }
    let (mut row, mut column) = (0, 0);
    let mut lines = Vec::new();
    while row < rows || column < columns {
        if row < rows && column < columns && fits(&expected[row], &there[column]) {
            lines.push(format!("  {}", line(&there[column])));
            (row, column) = (row + 1, column + 1);
        } else if row < rows && expected[row] == Entry::Others {
            lines.push("  ...".to_owned());
            row += 1;
        } else if column == columns || row < rows && pairs[row + 1][column] >= pairs[row][column + 1] {
            lines.push(format!("- {}", expected[row].shown()));
            row += 1;
        } else {
            lines.push(format!("+ {}", line(&there[column])));
            column += 1;
        }
    }
    const MOST: usize = 60;
    let more = lines.len().saturating_sub(MOST);
    lines.truncate(MOST);
    if more > 0 {
        lines.push(format!("  ... and {more} more"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
