//! What must come out of a case.

use super::value::optional;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What is expected. Lists are whole and in order; `"..."` stands for any number of others.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    /// How the run ends; `succeeded`, unless a failure is expected.
    pub(crate) ended: Option<End>,
    /// The report's status.
    pub(crate) status: Option<Status>,
    /// The report's summary.
    pub(crate) summary: Option<String>,
    /// Its findings: patterns of titles, or tables of what each has.
    #[serde(deserialize_with = "entries")]
    pub(crate) findings: Option<Vec<Entry>>,
    /// Its tables by their names: the rows.
    #[serde(deserialize_with = "optional")]
    pub(crate) tables: Option<Value>,
    /// Its metrics by their names.
    #[serde(deserialize_with = "optional")]
    pub(crate) metrics: Option<Value>,
    /// Its data.
    #[serde(deserialize_with = "optional")]
    pub(crate) data: Option<Value>,
    /// The failure that the procedure answers, or what ended it.
    pub(crate) failure: Option<Failed>,
    /// The effects; without it, none.
    #[serde(deserialize_with = "entries")]
    pub(crate) effects: Option<Vec<Entry>>,
    /// What was denied; without it, nothing.
    #[serde(deserialize_with = "entries")]
    pub(crate) denied: Option<Vec<Entry>>,
    /// The compensations with what became of them; without it, none, unless `mode` is a plan.
    #[serde(deserialize_with = "entries")]
    pub(crate) compensations: Option<Vec<Entry>>,
    /// The completed steps with their results.
    #[serde(deserialize_with = "optional")]
    pub(crate) steps: Option<Value>,
    /// Lines of the log, in this order, others between.
    #[serde(deserialize_with = "entries")]
    pub(crate) log: Option<Vec<Entry>>,
    /// The artifacts by their names: patterns of their texts.
    pub(crate) artifacts: Option<BTreeMap<String, String>>,
    /// What the slots hold afterwards.
    #[serde(deserialize_with = "slots")]
    pub(crate) slots: BTreeMap<String, Map<String, Value>>,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// It reported.
    Succeeded,
    /// It answered a failure.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Its time was over.
    TimedOut,
    /// It trapped.
    Trapped,
    /// It went over a limit.
    OverLimit,
    /// Its host crashed or lost it, and nobody may begin it again.
    Lost,
}

impl End {
    /// The word in a file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed-out",
            Self::Trapped => "trapped",
            Self::OverLimit => "over-limit",
            Self::Lost => "lost",
        }
    }
}

/// A report's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// Nothing to do.
    Ok,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Critical,
    /// It could not be told.
    Unknown,
}

impl Status {
    /// The word in a file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

/// A failure.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Failed {
    /// The case of the error that caused it, as the contract calls it.
    pub(crate) kind: Option<String>,
    /// Its code, or PostgreSQL's.
    pub(crate) code: Option<String>,
    /// What happened.
    pub(crate) message: Option<String>,
    /// What to do.
    pub(crate) hint: Option<String>,
}

/// One entry of a list: a pattern of its line, or what it has. A line is the whole of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// Any number of others.
    Others,
    /// A pattern.
    Line(String),
    /// What it has.
    Has(Map<String, Value>),
}

impl Entry {
    /// As it is shown in a difference.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Others => crate::compare::partial::OTHERS.to_owned(),
            Self::Line(pattern) => crate::compare::glob::plain(pattern),
            Self::Has(map) => Value::Object(map.clone()).to_string(),
        }
    }
}

fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Entry>>, D::Error> {
    let all = match toml::Value::deserialize(deserializer)? {
        toml::Value::Array(all) => all,
        // One alone.
        one => vec![one],
    };
    let entry = |value: toml::Value| match super::value::plain(value) {
        Value::String(text) if text == crate::compare::partial::OTHERS => Ok(Entry::Others),
        Value::String(text) => Ok(Entry::Line(text)),
        Value::Object(map) => Ok(Entry::Has(map)),
        other => Err(serde::de::Error::custom(format!("`{other}` is neither a text nor a table"))),
    };
    all.into_iter().map(entry).collect::<Result<Vec<_>, _>>().map(Some)
}

fn slots<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Map<String, Value>>, D::Error> {
    let all = BTreeMap::<String, toml::Table>::deserialize(deserializer)?;
    let plain = |table: toml::Table| table.into_iter().map(|(key, value)| (key, super::value::plain(value))).collect();
    Ok(all.into_iter().map(|(slot, table)| (slot, plain(table))).collect())
}
