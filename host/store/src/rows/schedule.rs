//! Schedules and what was decided about their instants.

use crate::rows::run::NewRun;
use chrono::{DateTime, Utc};
use rota_protocol::{Cursor, FireOutcome, Span};
use serde::{Deserialize, Serialize};

/// A schedule as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleDefinition {
    /// The job, which has one schedule.
    pub job: String,
    /// JSON, which the store does not read.
    pub definition: String,
    /// Tells whether it changed.
    pub hash: String,
    /// The first nominal instant, used when it is new, changed or configured again; none: it is over.
    pub next: Option<DateTime<Utc>>,
    /// The same, with jitter.
    pub fire_at: Option<DateTime<Utc>>,
}

/// What applying a configuration changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleChanges {
    /// Jobs whose schedule is new, or configured again.
    pub new: Vec<String>,
    /// Jobs whose schedule changed.
    pub changed: Vec<String>,
    /// Jobs that are no longer configured.
    pub disabled: Vec<String>,
    /// How many are as they were.
    pub unchanged: u64,
}

/// Why and by whom a schedule is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who.
    pub by: String,
    /// Why.
    pub note: String,
    /// Since when.
    pub at: DateTime<Utc>,
}

/// A schedule on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRow {
    /// The job.
    pub job: String,
    /// JSON, which the store does not read.
    pub definition: String,
    /// Where it stands.
    pub cursor: Cursor,
    /// When its next instant is to be decided about, jitter included.
    pub fire_at: Option<DateTime<Utc>>,
    /// Whether it is configured.
    pub enabled: bool,
    /// Whether somebody paused it.
    pub paused: Option<Pause>,
    /// Failed runs in a row.
    pub failures: u32,
    /// 0 to 1023, by the job's name; see [`shard_of`].
    pub shard: i32,
}

/// A decision about the next instant of a schedule.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The schedule.
    pub job: String,
    /// The version of its cursor that was read.
    pub read: i64,
    /// The instant.
    pub nominal: DateTime<Utc>,
    /// What is to happen.
    pub outcome: DecisionOutcome,
    /// The instant that follows; none: the schedule is over.
    pub next: Option<DateTime<Utc>>,
    /// The same, with jitter.
    pub fire_at: Option<DateTime<Utc>>,
    /// Further instants between this one and the next, and why each of them makes no run.
    pub also: Vec<(DateTime<Utc>, String)>,
    /// How many more there were that are not listed one by one.
    pub missed_more: u64,
}

/// What is to happen at an instant.
#[derive(Clone, Debug)]
pub enum DecisionOutcome {
    /// A run.
    Fire(Box<NewRun>),
    /// No run; a stable word says why. What is more to say follows it after `: `.
    Skip(String),
    /// A run that waits until others are over: one with `hold` = concurrency. It is a candidate as soon as its keys are free.
    Buffer(Box<NewRun>),
    /// A run, and the end of others.
    FireAndCancel {
        /// The run.
        run: Box<NewRun>,
        /// The others.
        cancel: Vec<String>,
        /// Whether they get no time to end well.
        terminate: bool,
    },
}

/// A decision on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FireRow {
    /// The schedule.
    pub job: String,
    /// The instant.
    pub nominal: DateTime<Utc>,
    /// What was decided.
    pub outcome: FireOutcome,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// By which host.
    pub by: String,
    /// How long after the instant.
    pub late: Span,
    /// How many further instants were missed with it that are not listed.
    pub missed_more: u64,
}

/// What a schedule's job has under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Runs that run, undo, or are queued to.
    pub active: Vec<String>,
    /// Runs that wait for others.
    pub buffered: Vec<String>,
}

/// How many shards there are.
pub(crate) const SHARDS: u32 = 1024;

/// The shard of a job: FNV-1a of its name.
#[must_use]
pub fn shard_of(job: &str) -> i32 {
    let hash = job.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // Below 1024.
    (hash % SHARDS).cast_signed()
}
