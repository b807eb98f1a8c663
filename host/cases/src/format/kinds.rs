//! What can be expected in which kind of case. A key that nothing is held against lets a case pass whatever comes out, so it is refused
//! where the file is read.

use super::expect::{End, Entry, Expect};
use serde_json::Value;

/// What is run, and so what there is to be held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A run that the case answers.
    Run,
    /// A compensation alone.
    Compensation,
    /// A run on real bindings: what is on record of it.
    Real,
}

impl Kind {
    /// The keys that nothing is held against, and why.
    fn nowhere(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Run => (&[], ""),
            Self::Compensation => (
                &["status", "summary", "findings", "tables", "metrics", "data", "compensations"],
                "a compensation that is carried out alone reports nothing and has none of its own",
            ),
            Self::Real => (
                &["log", "artifacts", "slots"],
                "of a run on real bindings only its report, effects, steps and compensations are looked at",
            ),
        }
    }
}

impl Expect {
    /// How it ends, where nothing else is said.
    pub(crate) fn end(&self) -> End {
        self.ended.unwrap_or(if self.failure.is_some() { End::Failed } else { End::Succeeded })
    }

    /// The denials that are named.
    pub(crate) fn denials(&self) -> impl Iterator<Item = &Entry> {
        self.denied.iter().flatten().filter(|entry| **entry != Entry::Others)
    }

    fn is_given(&self, key: &str) -> bool {
        match key {
            "status" => self.status.is_some(),
            "summary" => self.summary.is_some(),
            "findings" => self.findings.is_some(),
            "tables" => self.tables.is_some(),
            "metrics" => self.metrics.is_some(),
            "data" => self.data.is_some(),
            "compensations" => self.compensations.is_some(),
            "log" => self.log.is_some(),
            "artifacts" => self.artifacts.is_some(),
            "slots" => !self.slots.is_empty(),
            _ => false,
        }
    }
}

/// What of an expectation nothing would be held against in such a case, and what to do about it.
pub(crate) fn refused(expect: &Expect, kind: Kind) -> Option<(String, &'static str)> {
    let (nowhere, why) = kind.nowhere();
    if let Some(key) = nowhere.iter().find(|key| expect.is_given(key)) {
        return Some((format!("nothing would be held against `{key}` here: {why}"), "take it out"));
    }
    if expect.failure.is_some() && expect.end() == End::Succeeded {
        let message = "what succeeds has no failure that `failure` could be held against".to_owned();
        return Some((message, "take out `failure`, or `ended`"));
    }
    let tables = [("tables", &expect.tables), ("metrics", &expect.metrics), ("steps", &expect.steps)];
    for (key, value) in tables {
        match value {
            Some(Value::Object(map)) if map.is_empty() => return Some(empty(key)),
            None | Some(Value::Object(_)) => {}
            Some(_) => return Some((format!("`{key}` is a table, by name"), "name each that is expected")),
        }
    }
    if expect.artifacts.as_ref().is_some_and(std::collections::BTreeMap::is_empty) {
        return Some(empty("artifacts"));
    }
    if expect.log.as_ref().is_some_and(|log| log.iter().all(|entry| *entry == Entry::Others)) {
        return Some(empty("log"));
    }
    if kind == Kind::Real { on_record(expect) } else { None }
}

fn empty(key: &str) -> (String, &'static str) {
    let message = format!("`{key}` has nothing in it: others may be there, so nothing would be held against it");
    (message, "name what is expected, or take it out")
}

/// What is on no run's record.
fn on_record(expect: &Expect) -> Option<(String, &'static str)> {
    if expect.failure.as_ref().is_some_and(|failure| failure.code.is_some()) {
        let message = "a run on real bindings is on record without the target's own `code`".to_owned();
        return Some((message, "take it out, and expect a part of the failure's `message`"));
    }
    let has_state = |entry: &Entry| matches!(entry, Entry::Has(map) if map.contains_key("state"));
    if expect.compensations.iter().flatten().any(has_state) {
        let message = "a run on real bindings is shown without the `state` of its compensations".to_owned();
        return Some((message, "take it out"));
    }
    let denials = expect.denials().count();
    if denials > 1 || denials == 1 && expect.end() != End::Failed {
        let message = "of a run on real bindings only the one denial that ended it is on record".to_owned();
        return Some((message, "name that one, with `ended = \"failed\"`, or take it out"));
    }
    None
}
