//! What the store says of itself.

use chrono::{DateTime, Utc};
use rota_protocol::Span;
use serde::Serialize;

/// Something may have changed. Only ever a hint: it can come twice, late or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// A run may be there to be claimed.
    Queue,
    /// Somebody wants a run cancelled.
    Cancel(String),
    /// Schedules changed.
    Schedules,
    /// A run's log has new lines.
    Log(String),
    /// A run has a new state.
    Run(String),
}

/// Which runs that are over are kept. Runs whose undo failed are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Those that ended within this time.
    pub age: Span,
    /// Of those, so many of each job: the newest.
    pub per_job: u32,
}

/// The state of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// `sqlite` or `postgres`.
    pub engine: String,
    /// The engine's version.
    pub engine_version: String,
    /// The file, or host, port and database.
    pub place: String,
    /// The schema's version.
    pub schema: i64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Its tables.
    pub tables: Vec<TableStatus>,
    /// When the oldest run was made.
    pub oldest_run: Option<DateTime<Utc>>,
    /// How many writes of workers this process has seen refused because their lease was lost.
    pub refused_writes: u64,
    /// How many records of this process wait for the store to be back.
    pub spooled: u64,
}

/// The state of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableStatus {
    /// Its name.
    pub name: String,
    /// Its rows; on PostgreSQL an estimate.
    pub rows: u64,
    /// Its dead rows, on PostgreSQL.
    pub dead: Option<u64>,
    /// Its bytes with its indexes, on PostgreSQL.
    pub bytes: Option<u64>,
}

/// What a backup holds, or a restore brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupSummary {
    /// The schema's version that it was made with.
    pub schema: i64,
    /// Rows by table.
    pub rows: Vec<(String, u64)>,
    /// The size of the file.
    pub bytes: u64,
}
