//! Reports and descriptors as the JSON that `--output json` prints.

use crate::reports::{Cell, Descriptor, Finding, Metric, Report, Risk, Severity, Slot, Table};
use serde_json::{Map, Value, json};

impl Severity {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

impl Risk {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Change => "change",
            Self::Destroy => "destroy",
        }
    }
}

/// Text that should be JSON, from a guest: kept as a string when it is not.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

impl Cell {
    /// The cell as a plain JSON value: sizes in bytes, spans in seconds, instants as RFC 3339 are left to the caller (microseconds here).
    pub fn to_json(&self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Text(text) => Value::String(text.clone()),
            Self::Integer(n) | Self::Instant(n) => json!(n),
            Self::Bytes(n) => json!(n),
            Self::Number(x) | Self::Seconds(x) | Self::Ratio(x) => json!(x),
            Self::Flag(flag) => json!(flag),
        }
    }
}

impl Table {
    /// `{name, title, columns, rows}`.
    pub fn to_json(&self) -> Value {
        let rows: Vec<Vec<Value>> = self.rows.iter().map(|row| row.iter().map(Cell::to_json).collect()).collect();
        json!({ "name": self.name, "title": self.title, "columns": self.columns, "rows": rows })
    }
}

impl Finding {
    /// `{severity, title, detail, remedy}`.
    pub fn to_json(&self) -> Value {
        let remedy = self
            .remedy
            .as_ref()
            .map(|r| json!({ "plugin": r.plugin, "parameters": parsed(&r.parameters), "note": r.note }));
        json!({ "severity": self.severity.as_str(), "title": self.title, "detail": self.detail, "remedy": remedy })
    }
}

impl Metric {
    /// `{name, labels, value}`.
    pub fn to_json(&self) -> Value {
        let labels: Map<String, Value> =
            self.labels.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect();
        json!({ "name": self.name, "labels": labels, "value": self.value })
    }
}

impl Report {
    /// The `report` of `--output json`.
    pub fn to_json(&self) -> Value {
        json!({
            "status": self.status.as_str(),
            "summary": self.summary,
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
            "tables": self.tables.iter().map(Table::to_json).collect::<Vec<_>>(),
            "metrics": self.metrics.iter().map(Metric::to_json).collect::<Vec<_>>(),
            "data": parsed(&self.data),
        })
    }
}

impl Slot {
    /// `{name, capability, accesses, purpose, optional}`.
    pub fn to_json(&self) -> Value {
        json!({ "name": self.name, "capability": self.capability, "accesses": self.accesses, "purpose": self.purpose, "optional": self.optional })
    }
}

impl Descriptor {
    /// The descriptor of `rota plugins show --output json`.
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "version": self.version,
            "summary": self.summary,
            "description": self.description,
            "risk": self.risk.as_str(),
            "confirmation": self.confirmation,
            "idempotent": self.idempotent,
            "slots": self.slots.iter().map(Slot::to_json).collect::<Vec<_>>(),
            "parameters": parsed(&self.parameters),
            "report": parsed(&self.report),
            "examples": self.examples.iter().map(|e| json!({ "title": e.title, "parameters": parsed(&e.parameters) })).collect::<Vec<_>>(),
        })
    }
}
