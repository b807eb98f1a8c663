//! When a schedule fires by itself, before windows and jitter: its nominal instants.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::ScheduleError;
use crate::expression::CronExpression;
use crate::zone::{Zone, instant};

/// What nominal instants a schedule has. They are whole seconds, but for the anchor and one-off instants, which may have
/// milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Timing {
    /// By the wall clock of a zone.
    Cron {
        /// Which times.
        expression: CronExpression,
        /// Whose clock.
        zone: Zone,
    },
    /// At fixed intervals, whatever clocks do.
    Every(Every),
    /// Once at each of these.
    At(Instants),
}

/// A fixed interval, anchored: it fires at each whole number of intervals from the anchor, before it as well as after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Every {
    interval: i64,
    anchor: i64,
}

impl Every {
    /// The shortest interval, in milliseconds.
    const SHORTEST: i64 = 1_000;

    /// An interval with its anchor, both cut to milliseconds.
    ///
    /// # Errors
    ///
    /// If the interval is shorter than a second.
    pub fn new(interval: Duration, anchor: DateTime<Utc>) -> Result<Self, ScheduleError> {
        let milliseconds = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
        if milliseconds < Self::SHORTEST {
            return Err(ScheduleError::Interval { milliseconds: interval.as_millis() });
        }
        Ok(Self { interval: milliseconds, anchor: anchor.timestamp_millis() })
    }

    /// Its length.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval.unsigned_abs())
    }

    /// Its anchor.
    pub fn anchor(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.anchor).unwrap_or_default()
    }

    /// The number of the last interval that begins at or before a millisecond.
    fn number(&self, at: i64) -> i64 {
        (at - self.anchor).div_euclid(self.interval)
    }

    fn previous(&self, until: i64) -> Option<i64> {
        self.number(until).checked_mul(self.interval)?.checked_add(self.anchor)
    }

    fn next_after(&self, after: i64) -> Option<i64> {
        (self.number(after) + 1).checked_mul(self.interval)?.checked_add(self.anchor)
    }
}

/// One-off instants, in order, each once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Instants(Box<[DateTime<Utc>]>);

impl Instants {
    /// Of any instants, in any order.
    pub fn new(all: impl IntoIterator<Item = DateTime<Utc>>) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        Self(all.into())
    }

    /// How many there are up to and with an instant.
    fn until(&self, until: DateTime<Utc>) -> usize {
        self.0.partition_point(|at| *at <= until)
    }
}

impl From<DateTime<Utc>> for Instants {
    fn from(at: DateTime<Utc>) -> Self {
        Self(Box::new([at]))
    }
}

impl Timing {
    /// The first nominal instant strictly after an instant; none if there is no more. Cron expressions end with 2100.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Cron { expression, zone } => expression.fields.next_instant(zone, after.timestamp() + 1).map(instant),
            Self::Every(every) => DateTime::from_timestamp_millis(every.next_after(after.timestamp_millis())?),
            Self::At(at) => at.0.get(at.until(after)).copied(),
        }
    }

    /// The nominal instants strictly after one instant, up to and with another.
    pub fn between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let first = self.next_after(after);
        std::iter::successors(first, |instant| self.next_after(*instant)).take_while(move |instant| *instant <= until)
    }

    /// How many nominal instants there are strictly after one instant, up to and with another. It is exact, and computed
    /// from the fields, not by going through them.
    pub fn count(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> u64 {
        if until <= after {
            return 0;
        }
        match self {
            Self::Cron { expression, zone } => {
                expression.fields.count_instants(zone, after.timestamp() + 1, until.timestamp() + 1)
            }
            Self::Every(every) => {
                let number = |at: DateTime<Utc>| every.number(at.timestamp_millis());
                number(until).saturating_sub(number(after)).unsigned_abs()
            }
            Self::At(at) => at.until(until).saturating_sub(at.until(after)) as u64,
        }
    }

    /// The last nominal instant at or before an instant.
    pub fn previous(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Cron { expression, zone } => expression.fields.previous_instant(zone, until.timestamp()).map(instant),
            Self::Every(every) => DateTime::from_timestamp_millis(every.previous(until.timestamp_millis())?),
            Self::At(at) => at.until(until).checked_sub(1).and_then(|last| at.0.get(last).copied()),
        }
    }

    /// The same instants as [`Timing::between`], the latest first.
    pub fn backwards(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let earlier = move |instant: &DateTime<Utc>| {
            self.previous(instant.checked_sub_signed(TimeDelta::milliseconds(1)).filter(|earlier| *earlier > after)?)
        };
        std::iter::successors(self.previous(until), earlier).take_while(move |instant| *instant > after)
    }

    /// The latest nominal instants, at most `limit`, strictly after one instant, up to and with another, in order.
    pub fn latest(&self, after: DateTime<Utc>, until: DateTime<Utc>, limit: usize) -> Vec<DateTime<Utc>> {
        let mut latest: Vec<DateTime<Utc>> = self.backwards(after, until).take(limit).collect();
        latest.reverse();
        latest
    }

    /// The zone whose clock it follows; UTC if none.
    pub fn zone(&self) -> Zone {
        match self {
            Self::Cron { zone, .. } => *zone,
            Self::Every(_) | Self::At(_) => Zone::utc(),
        }
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron { expression, zone } => write!(f, "{expression} {zone}"),
            Self::Every(every) => write!(f, "every {:?} from {}", every.interval(), every.anchor().to_rfc3339()),
            Self::At(at) => {
                let all: Vec<String> = at.0.iter().map(DateTime::to_rfc3339).collect();
                write!(f, "at {}", all.join(", "))
            }
        }
    }
}
