//! What is written and read.

use crate::status::RunStatus;
use chrono::{DateTime, Utc};

/// A run that begins. Texts must be masked.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// A UUIDv7.
    pub id: String,
    /// The job.
    pub job: Option<String>,
    /// The plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub digest: String,
    /// `plan` or `execute`.
    pub mode: String,
    /// What set it off.
    pub trigger: String,
    /// The parameters, JSON.
    pub parameters: String,
    /// What is bound and granted, JSON: names and words, never addresses.
    pub grants: String,
    /// The nominal instant.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// The state.
    pub status: RunStatus,
    /// The report, JSON.
    pub report: Option<String>,
    /// The error, JSON.
    pub error: Option<String>,
    /// Log lines that were dropped.
    pub dropped_log_lines: u64,
}

/// A run on record.
#[derive(Clone, Debug)]
pub struct RunRow {
    /// What was known when it began.
    pub run: NewRun,
    /// The state.
    pub status: RunStatus,
    /// The machine it ran on.
    pub host: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The report, JSON.
    pub report: Option<String>,
    /// The error, JSON.
    pub error: Option<String>,
    /// Log lines that were dropped.
    pub dropped_log_lines: u64,
}

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
}

/// A line for a run's log.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
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

/// Which runs.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this job.
    pub job: Option<String>,
    /// Of this plugin.
    pub plugin: Option<String>,
    /// In this state.
    pub status: Option<RunStatus>,
    /// Begun at this instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Before this id, for the next page.
    pub before: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// Instants are kept as microseconds since 1970-01-01T00:00Z.
pub(crate) fn micros(instant: DateTime<Utc>) -> i64 {
    instant.timestamp_micros()
}
