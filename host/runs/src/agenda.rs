//! What this host is to decide about next, read from the store some time ahead, so that it is not asked again for each instant.
//!
//! What is read holds for as long as was asked about. What changes meanwhile is hinted at; and a decision by something that has changed
//! without its hint arriving is refused by the store, which compares the schedule's version.

use chrono::{DateTime, TimeDelta, Utc};
use rota_store::ScheduleRow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a hint asks for is read at most so often: each decision is hinted at, this host's own too.
const HINTED: TimeDelta = TimeDelta::milliseconds(100);

/// A moment more is waited, so that the database's clock has certainly passed the instant.
const MOMENT: Duration = Duration::from_millis(1);

/// Schedules that are this host's to decide about, and until when they are all there is.
pub(crate) struct Agenda {
    /// The earliest first; each has an instant.
    rows: VecDeque<ScheduleRow>,
    /// The database's time when they were read, and when that was known here.
    read: (DateTime<Utc>, Instant),
    until: DateTime<Utc>,
}

impl Agenda {
    /// What was read at `now`, by the database's clock: everything that is this host's before `until`.
    pub(crate) fn new(now: DateTime<Utc>, rows: Vec<ScheduleRow>, until: DateTime<Utc>) -> Self {
        Self { rows: rows.into(), read: (now, Instant::now()), until }
    }

    /// The database's time, or a little less.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.read.0 + self.read.1.elapsed()
    }

    /// Take what is due.
    pub(crate) fn due(&mut self) -> Vec<ScheduleRow> {
        let now = self.now();
        let due = self.rows.iter().take_while(|row| row.fire_at.is_none_or(|at| at <= now)).count();
        self.rows.drain(..due).collect()
    }

    /// From an instant on there may be more than is here.
    pub(crate) fn ends(&mut self, at: DateTime<Utc>) {
        self.until = self.until.min(at);
    }

    /// Something has changed.
    pub(crate) fn hinted(&mut self) {
        self.ends(self.read.0 + HINTED);
    }

    /// Whether it has to be read again; and how long nothing is due, where it has not.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let now = self.now();
        let next = self.rows.front().and_then(|row| row.fire_at).map_or(self.until, |at| at.min(self.until));
        (self.until > now).then(|| (next - now).to_std().unwrap_or_default() + MOMENT)
    }
}
