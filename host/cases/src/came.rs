//! What came out of a run, as far as anything can be expected of it.

use crate::format::End;
use crate::listener::Line;
use rota_contract::{Failure, Report};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What came out.
#[derive(Debug, Default)]
pub struct Came {
    /// How it ended: `succeeded`, `failed`, `cancelled`, `timed-out`, `trapped`, `over-limit` or `lost`.
    pub ended: String,
    /// The report, also that of a failure.
    pub report: Option<Report>,
    /// Why it did not succeed.
    pub failure: Option<Cause>,
    /// The effects, in their order.
    pub effects: Vec<EffectCame>,
    /// What was denied.
    pub denied: Vec<String>,
    /// The compensations, in the order of their registration.
    pub compensations: Vec<CompensationCame>,
    /// The steps by name, each with its result once it is completed.
    pub steps: Vec<(String, Option<Value>)>,
    /// The log.
    pub log: Vec<Line>,
    /// The artifacts by name.
    pub artifacts: BTreeMap<String, String>,
    /// What the slots hold.
    pub slots: BTreeMap<String, Value>,
}

/// Why a run did not succeed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The case of the contract's error that caused it, or a word of the host.
    pub kind: String,
    /// The target's own code.
    pub code: Option<String>,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Cause {
    /// A word of the host and what it says.
    pub fn of_host(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), message: message.into(), ..Self::default() }
    }

    pub(crate) fn of(failure: &Failure) -> Self {
        use rota_contract::Error;
        let code = match &failure.cause {
            Some(Error::Failed(fault)) => Some(fault.code.clone()),
            _ => None,
        };
        Self {
            kind: failure.cause.as_ref().map_or("failed", Error::kind).to_owned(),
            code,
            message: failure.message.clone(),
            hint: failure.hint.clone(),
        }
    }
}

/// An effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectCame {
    /// The import.
    pub operation: String,
    /// The binding and the object.
    pub target: String,
    /// The accesses that it needed.
    pub access: String,
    /// What a person judges it by.
    pub detail: String,
    /// How it ended: `planned`, `done`, `failed`, `interrupted`.
    pub outcome: String,
    /// What the target said.
    pub said: Option<String>,
}

impl EffectCame {
    /// In one line: `sql.execute database: vacuum public.a`. A statement says its object itself.
    pub fn line(&self) -> String {
        let target = match self.target.split_once(": ") {
            Some((binding, _)) if self.operation.starts_with("sql.") && !self.detail.is_empty() => binding,
            _ => &self.target,
        };
        let line = if self.detail.is_empty() {
            format!("{} {target}", self.operation)
        } else {
            format!("{} {target}: {}", self.operation, self.detail)
        };
        crate::compare::glob::plain(&line)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "operation": self.operation, "target": self.target, "access": self.access, "detail": self.detail,
            "outcome": self.outcome, "said": self.said,
        })
    }
}

/// A compensation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompensationCame {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: Value,
    /// What became of it: `registered`, `dismissed`, `undone` or `failed`.
    pub became: String,
    /// Why it failed.
    pub error: Option<String>,
}

impl CompensationCame {
    /// In one line: `scale web back: undone`.
    pub fn line(&self) -> String {
        let error = self.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        crate::compare::glob::plain(&format!("{}: {}{error}", self.name, self.became))
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "name": self.name, "state": self.state, "became": self.became, "error": self.error })
    }
}

impl Came {
    pub(crate) fn ended(&mut self, end: End) {
        end.as_str().clone_into(&mut self.ended);
    }
}
