//! What is written and read.

mod host;
mod record;
mod run;
mod schedule;
mod state;
mod team;

pub use host::{Beat, BeatAnswer, HostRow, NewHost};
pub use record::{ArtifactRow, EffectRow, LogRow, NewLogLine};
pub use run::{
    AfterRun, AttemptEnded, AttemptRecord, AttemptRow, CancelWish, Claim, Claimed, CompensationRow, ConcurrencyKey,
    EndedRow, Filter, NewRun, NextUndo, RunPolicy, RunRow, StepRow,
};
pub use schedule::{
    Decision, DecisionOutcome, FireRow, Load, Pause, ScheduleChanges, ScheduleDefinition, ScheduleRow, shard_of,
};
pub use state::{BackupSummary, Hint, Keep, StoreStatus, TableStatus};
pub(crate) use team::day_of;
pub use team::{TeamQuota, TeamQuotas, TeamShare, TeamUsage, team_key};

use chrono::{DateTime, Utc};
use rota_protocol::Instant;

/// Instants are kept as microseconds since 1970-01-01T00:00Z.
pub(crate) fn micros(instant: DateTime<Utc>) -> i64 {
    instant.timestamp_micros()
}

/// An instant of the rules.
pub(crate) fn instant(time: DateTime<Utc>) -> Instant {
    Instant(micros(time))
}

/// An instant of the database as a date; what is out of every calendar's range is the calendar's end.
pub fn date(instant: Instant) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(instant.0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
