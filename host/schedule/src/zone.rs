//! A time zone of the IANA database, with the instants at which its clocks are put forward or back.

use std::fmt;
use std::str::FromStr;
use std::sync::{LazyLock, OnceLock};

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

use crate::error::ScheduleError;

/// A time zone. Its table of changes is made when it is first named (about a millisecond) and kept.
#[derive(Clone, Copy)]
pub struct Zone {
    tz: Tz,
    spans: &'static [Span],
}

/// A span of time with one offset from UTC: from its start to the start of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// In seconds since 1970; the first one's is the beginning of time.
    pub(crate) start: i64,
    /// In seconds to the east.
    pub(crate) offset: i64,
}

/// From the day before 1970 in UTC to the day after 2100: all that a cron expression can name.
const FIRST: i64 = -2 * 86_400;
const LAST: i64 = 4_133_980_800 + 2 * 86_400;

impl Zone {
    /// UTC, which never changes.
    pub fn utc() -> Self {
        Self::from(Tz::UTC)
    }

    /// The zone with an IANA name.
    ///
    /// # Errors
    ///
    /// If there is none, with the name that is most like it.
    pub fn named(name: &str) -> Result<Self, ScheduleError> {
        if let Ok(tz) = name.parse::<Tz>() {
            return Ok(Self::from(tz));
        }
        let lower = name.to_ascii_lowercase().replace(' ', "_");
        let likeness = |tz: &Tz| {
            let known = tz.name().to_ascii_lowercase();
            let city = known.rsplit('/').next().unwrap_or(&known);
            strsim::jaro_winkler(&lower, &known).max(strsim::jaro_winkler(&lower, city))
        };
        let nearest = TZ_VARIANTS.iter().map(|tz| (likeness(tz), tz)).max_by(|a, b| a.0.total_cmp(&b.0));
        let nearest = nearest.filter(|(likeness, _)| *likeness > 0.75).map(|(_, tz)| tz.name().to_owned());
        Err(ScheduleError::Zone { name: name.to_owned(), nearest })
    }

    /// Its IANA name.
    pub fn name(&self) -> &'static str {
        self.tz.name()
    }

    /// An instant as a clock in the zone shows it, with the zone's abbreviation and offset.
    pub fn local(&self, instant: DateTime<Utc>) -> LocalTime {
        let offset = self.tz.offset_from_utc_datetime(&instant.naive_utc());
        let seconds = offset.fix().local_minus_utc();
        LocalTime {
            time: instant.naive_utc() + offset.fix(),
            abbreviation: offset.abbreviation().unwrap_or(self.tz.name()).to_owned(),
            offset_seconds: seconds,
        }
    }

    /// The instant at which the zone's clocks show a time: the first one if they show it twice, and the first one after
    /// the gap if they never do.
    pub fn resolve(&self, time: NaiveDateTime) -> DateTime<Utc> {
        instant(self.resolve_wall(time.and_utc().timestamp()))
    }

    pub(crate) fn resolve_wall(&self, wall: i64) -> i64 {
        // A wall-clock time is at most a day and a few hours from the same number of seconds in UTC.
        let mut index = self.index_at(wall - 172_800);
        loop {
            let span = self.spans[index];
            let end = self.end_of(index);
            let begins = if index == 0 { i64::MIN } else { span.start + span.offset };
            if wall < begins {
                return span.start;
            }
            if wall - span.offset < end {
                return wall - span.offset;
            }
            index += 1;
        }
    }

    /// The first span.
    pub(crate) fn index_at(&self, instant: i64) -> usize {
        self.spans.partition_point(|span| span.start <= instant).saturating_sub(1)
    }

    pub(crate) fn span(&self, index: usize) -> Option<Span> {
        self.spans.get(index).copied()
    }

    /// The first instant after a span, or the end of time.
    pub(crate) fn end_of(&self, index: usize) -> i64 {
        self.spans.get(index + 1).map_or(i64::MAX, |span| span.start)
    }

    /// By how much clocks were put forward (or back, if below 0) when a span began.
    pub(crate) fn step_into(&self, index: usize) -> i64 {
        match (index.checked_sub(1).and_then(|before| self.span(before)), self.span(index)) {
            (Some(before), Some(span)) => span.offset - before.offset,
            _ => 0,
        }
    }

    /// Each instant at which the zone's offset changes, from 1970 to 2100.
    pub fn changes(&self) -> impl Iterator<Item = DateTime<Utc>> + use<> {
        self.spans[1..].iter().map(|span| instant(span.start))
    }
}

/// An instant as a clock in a zone shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LocalTime {
    /// What the clock shows.
    pub time: NaiveDateTime,
    /// As people call the zone's time then: `CEST`, or `+03` where there is no name.
    pub abbreviation: String,
    /// Seconds to the east of UTC.
    pub offset_seconds: i32,
}

impl fmt::Display for LocalTime {
    /// As `2026-03-29 03:00:00 CEST (+02:00)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.offset_seconds < 0 { '-' } else { '+' };
        let minutes = self.offset_seconds.unsigned_abs() / 60;
        let time = self.time.format("%Y-%m-%d %H:%M:%S");
        write!(f, "{time} {} ({sign}{:02}:{:02})", self.abbreviation, minutes / 60, minutes % 60)
    }
}

/// The instant at a number of seconds since 1970.
pub(crate) fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(if seconds < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}

impl From<Tz> for Zone {
    fn from(tz: Tz) -> Self {
        static SPANS: LazyLock<Vec<OnceLock<Box<[Span]>>>> =
            LazyLock::new(|| TZ_VARIANTS.iter().map(|_| OnceLock::new()).collect());
        Self { tz, spans: SPANS[tz as usize].get_or_init(|| spans(tz)) }
    }
}

/// Finds a zone's changes by its offset on each day and, where it differs, by halving. (Two changes within a day that
/// undo each other would be missed; there are none, which a test proves for 2000 to 2060.)
fn spans(tz: Tz) -> Box<[Span]> {
    let offset = |at: i64| i64::from(tz.offset_from_utc_datetime(&instant(at).naive_utc()).fix().local_minus_utc());
    let mut spans = vec![Span { start: i64::MIN, offset: offset(FIRST) }];
    let (mut at, mut current) = (FIRST, offset(FIRST));
    while at < LAST {
        let next = at + 86_400;
        while offset(next) != current {
            let (mut before, mut after) = (at, next);
            while after - before > 1 {
                let middle = before + (after - before) / 2;
                if offset(middle) == current { before = middle } else { after = middle }
            }
            (at, current) = (after, offset(after));
            spans.push(Span { start: at, offset: current });
        }
        at = next;
    }
    spans.into()
}

impl FromStr for Zone {
    type Err = ScheduleError;

    fn from_str(name: &str) -> Result<Self, ScheduleError> {
        Self::named(name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.tz == other.tz
    }
}

impl Eq for Zone {}

impl std::hash::Hash for Zone {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.tz.hash(state);
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}
