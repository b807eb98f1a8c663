//! What teams have used.

use chrono::{DateTime, NaiveDate};
use rota_protocol::{Instant, Span};
use serde::Serialize;

/// The microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// The most that a team may use in a day; what is none has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TeamQuotas {
    /// Runs that begin.
    pub runs: Option<u64>,
    /// CPU time.
    pub cpu: Option<Span>,
    /// Bytes that are sent out.
    pub bytes_out: Option<u64>,
    /// Effects that happen.
    pub effects: Option<u64>,
}

/// Something of which a team has a quota a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeamQuota {
    /// Runs that begin.
    Runs,
    /// CPU time.
    Cpu,
    /// Bytes that are sent out.
    BytesOut,
    /// Effects that happen.
    Effects,
}

/// What was set aside of a team's quotas for one run, which gives back what it does not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TeamShare {
    /// The day, counted from 1970-01-01, whose quotas it is of.
    pub day: i64,
    /// CPU time.
    pub cpu: Span,
    /// Bytes.
    pub bytes_out: u64,
}

/// What a team has used in a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TeamUsage {
    /// The team.
    pub team: String,
    /// The day, counted from 1970-01-01.
    pub day: i64,
    /// Runs that began.
    pub runs: u64,
    /// CPU time, with what is set aside for runs under way.
    pub cpu: Span,
    /// Bytes, with what is set aside for runs under way.
    pub bytes_out: u64,
    /// Effects.
    pub effects: u64,
    /// Runs under way now.
    pub at_once: u64,
    /// Runs that wait for others of the team to end.
    pub waiting: u64,
}

impl TeamUsage {
    /// The day as a date.
    pub fn date(&self) -> NaiveDate {
        DateTime::from_timestamp_micros(self.day.saturating_mul(DAY)).unwrap_or_default().date_naive()
    }
}

/// The day of an instant.
pub(crate) fn day_of(now: Instant) -> i64 {
    now.0.div_euclid(DAY)
}

/// The concurrency key that every run of a team holds.
#[must_use]
pub fn team_key(team: &str) -> String {
    format!("team:{team}")
}
