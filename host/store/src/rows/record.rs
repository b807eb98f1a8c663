//! Effects, log lines and artifacts of a run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// An effect on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectRow {
    /// Its number in the run.
    pub sequence: u64,
    /// `sql`, `storage`, `tool`.
    pub capability: String,
    /// The import.
    pub operation: String,
    /// Binding and object.
    pub target: String,
    /// The accesses it needed.
    pub access: String,
    /// What a person judges it by.
    pub detail: String,
    /// `write` or `destructive`.
    pub class: String,
    /// Whether it was only listed.
    pub planned: bool,
    /// `running`, `planned`, `done`, `failed`, `interrupted` or `unknown`.
    pub outcome: String,
    /// What the target said.
    pub said: Option<String>,
    /// When it was written down.
    pub started_at: DateTime<Utc>,
    /// When its outcome was.
    pub finished_at: Option<DateTime<Utc>>,
    /// The number of the lease under which it was written down; 0 for one of a version without leases.
    pub lease: i64,
}

/// A line for a run's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLogLine {
    /// When.
    pub time: DateTime<Utc>,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// Who said it: `procedure`, `stdout`, `stderr`, a tool, `host`.
    pub source: String,
    /// What.
    pub message: String,
    /// More of it.
    pub fields: Vec<(String, String)>,
}

/// A line of a run's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Its number in the run.
    pub sequence: u64,
    /// What was said.
    pub line: NewLogLine,
}

/// A file that a run keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactRow {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}
