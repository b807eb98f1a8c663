//! A schedule: a timing with its rules about misfires, overlaps, jitter, dates and windows.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::ScheduleError;
use crate::jitter::jitter;
use crate::misfire::Misfire;
use crate::overlap::Overlap;
use crate::reason::Reason;
use crate::timing::Timing;
use crate::windows::{Outside, Windows};

/// How many times windows are looked at for one next instant.
const MOST_STEPS: usize = 10_000;

/// The last instant before another; time goes in milliseconds here.
pub(crate) fn before(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant.checked_sub_signed(TimeDelta::milliseconds(1)).unwrap_or(instant)
}

/// When a job runs by itself. Every combination of its parts is valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What its jitter is computed from, with each instant: the job's name.
    pub name: Box<str>,
    /// Its nominal instants.
    pub timing: Timing,
    /// What becomes of overdue instants.
    pub misfire: Misfire,
    /// How long ago an instant may be that is caught up; without it, any time.
    pub catch_up: Option<Duration>,
    /// What a due run does while others are active.
    pub overlap: Overlap,
    /// By how much an instant is delayed at most. The delay ends before the next instant and before a window closes.
    pub jitter: Duration,
    /// There are no instants before this one.
    pub starts: Option<DateTime<Utc>>,
    /// There are no instants at or after this one.
    pub ends: Option<DateTime<Utc>>,
    /// When it may fire.
    pub windows: Windows,
}

/// What is on record about a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleState {
    /// Every nominal instant up to and with this one is decided, and never decided again. For a new schedule: when it was
    /// made.
    pub decided_until: DateTime<Utc>,
    /// The instant that waits for a window to open.
    pub deferred: Option<Deferred>,
    /// Whether it is paused: then each instant is missed.
    pub paused: bool,
}

impl ScheduleState {
    /// The state of a schedule that is made at an instant.
    pub fn new(made: DateTime<Utc>) -> Self {
        Self { decided_until: made, deferred: None, paused: false }
    }
}

/// A nominal instant that waits for a window to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deferred {
    /// The instant.
    pub nominal: DateTime<Utc>,
    /// When the window opens.
    pub until: DateTime<Utc>,
}

/// An instant that fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fire {
    /// The nominal instant, which is the run's identity together with the schedule.
    pub nominal: DateTime<Utc>,
    /// When it is due, with jitter, and after the opening it was deferred to.
    pub due: DateTime<Utc>,
    /// On time, late or deferred.
    pub reason: Reason,
}

impl Schedule {
    /// A schedule with the usual rules: misfire `once`, overlap `skip`, no jitter, dates and windows.
    pub fn new(name: impl Into<Box<str>>, timing: Timing) -> Self {
        Self {
            name: name.into(),
            timing,
            misfire: Misfire::default(),
            catch_up: None,
            overlap: Overlap::default(),
            jitter: Duration::ZERO,
            starts: None,
            ends: None,
            windows: Windows::default(),
        }
    }

    /// The first nominal instant strictly after another, within the schedule's dates.
    pub fn next_nominal(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = self.starts.map_or(after, |starts| after.max(before(starts)));
        self.timing.next_after(after).filter(|next| self.ends.is_none_or(|ends| *next < ends))
    }

    /// The next that fires after what is decided, if nothing is missed until then.
    pub fn next_fire(&self, state: &ScheduleState) -> Option<Fire> {
        let deferred = state.deferred.map(|deferred| self.deferred_fire(deferred));
        let mut after = state.decided_until;
        for _ in 0..MOST_STEPS {
            let Some(nominal) = self.next_nominal(after) else { return deferred };
            let fire = match self.place(nominal) {
                Place::Open => self.fire(nominal),
                // Deferred instants of one closed time fire once.
                Place::Closed { opens: Some(opens), .. } if self.stands(opens, state.deferred) => {
                    self.deferred_fire(Deferred { nominal, until: opens })
                }
                Place::Closed { opens: Some(opens), .. } => {
                    after = before(opens);
                    continue;
                }
                Place::Closed { opens: None, .. } => return deferred,
            };
            return Some(deferred.filter(|deferred| deferred.due <= fire.due).unwrap_or(fire));
        }
        deferred
    }

    /// When [`Schedule::decide`] has something to decide next; none if never again.
    pub fn next_decision(&self, state: &ScheduleState) -> Option<DateTime<Utc>> {
        let deferred = state.deferred.map(|deferred| self.deferred_fire(deferred).due);
        let next = self.next_nominal(state.decided_until).map(|nominal| match self.place(nominal) {
            Place::Open => self.fire(nominal).due,
            Place::Closed { .. } => nominal,
        });
        deferred.into_iter().chain(next).min()
    }

    /// The nominal instants from one instant on and before another, for a backfill. Windows do not restrict it: whoever
    /// asks for a backfill decides when it runs.
    ///
    /// # Errors
    ///
    /// If the range is empty or holds more instants than `limit`.
    pub fn backfill(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<DateTime<Utc>>, ScheduleError> {
        if to <= from {
            return Err(ScheduleError::RangeReversed { from: from.to_rfc3339(), to: to.to_rfc3339() });
        }
        let Some((after, until)) = self.within_dates(before(from), before(to)) else { return Ok(Vec::new()) };
        let count = self.timing.count(after, until);
        if count > limit as u64 {
            return Err(ScheduleError::TooMany { count, limit });
        }
        Ok(self.timing.between(after, until).collect())
    }

    /// A range of instants, cut to the schedule's dates; none if nothing is left of it.
    pub(crate) fn within_dates(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let after = self.starts.map_or(after, |starts| after.max(before(starts)));
        let until = self.ends.map_or(until, |ends| until.min(before(ends)));
        (after < until).then_some((after, until))
    }

    /// Where a nominal instant lies.
    pub(crate) fn place(&self, nominal: DateTime<Utc>) -> Place {
        if self.windows.is_empty() {
            return Place::Open;
        }
        match self.windows.closed(nominal) {
            None => Place::Open,
            Some((reason, _)) => {
                let opens = self.windows.opening(nominal).filter(|opens| self.ends.is_none_or(|ends| *opens < ends));
                Place::Closed { reason, opens }
            }
        }
    }

    /// Whether the first nominal instant of a closed time fires at its end: no other waits for it, and none comes at it.
    pub(crate) fn stands(&self, opens: DateTime<Utc>, deferred: Option<Deferred>) -> bool {
        self.windows.outside == Outside::Defer
            && deferred.is_none_or(|deferred| deferred.until != opens)
            && self.next_nominal(before(opens)) != Some(opens)
    }

    /// The fire of an instant at which the schedule may fire.
    pub(crate) fn fire(&self, nominal: DateTime<Utc>) -> Fire {
        Fire { nominal, due: self.delayed(nominal, nominal), reason: Reason::OnTime }
    }

    /// The fire of an instant that waited.
    pub(crate) fn deferred_fire(&self, deferred: Deferred) -> Fire {
        let due = self.delayed(deferred.nominal, deferred.until);
        Fire { nominal: deferred.nominal, due, reason: Reason::Deferred }
    }

    /// An instant with its jitter, which ends before the next nominal instant, before windows close and before the end.
    fn delayed(&self, nominal: DateTime<Utc>, from: DateTime<Utc>) -> DateTime<Utc> {
        if self.jitter.is_zero() {
            return from;
        }
        let most = TimeDelta::from_std(self.jitter).unwrap_or(TimeDelta::MAX);
        let next = self.timing.next_after(from);
        let closes = if self.windows.is_empty() { None } else { self.windows.closing(from) };
        let span = [next, closes, self.ends].into_iter().flatten().map(|end| end - from).fold(most, TimeDelta::min);
        from + jitter(&self.name, nominal, span)
    }
}

/// Where a nominal instant lies.
pub(crate) enum Place {
    /// The schedule may fire.
    Open,
    /// It may not.
    Closed {
        /// Why not.
        reason: Reason,
        /// When it may again, if ever.
        opens: Option<DateTime<Utc>>,
    },
}
