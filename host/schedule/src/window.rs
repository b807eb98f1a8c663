//! A window: a range of the calendar, hours of some weekdays, or a cron-like beginning with a length.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc, Weekday};

use crate::error::ScheduleError;
use crate::expression::CronExpression;
use crate::field::{Field, normalise};
use crate::timing::Timing;
use crate::walk::DAY;
use crate::zone::{Zone, instant};

/// How many recurrences that touch each other are followed; a window that stays open for longer never closes.
const LONGEST_CHAIN: usize = 10_000;

/// Instants within which a schedule may fire (a maintenance window) or may not (a blackout). It is open from its opening
/// and no more at its closing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    text: Box<str>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Calendar {
        opens: DateTime<Utc>,
        closes: DateTime<Utc>,
    },
    /// Seconds of the day by the zone's clock; `closes` is the next day's if it is not after `opens`.
    Weekly {
        weekdays: u8,
        opens: i64,
        closes: i64,
        zone: Zone,
    },
    Recurring {
        starts: Timing,
        length: TimeDelta,
    },
}

impl Window {
    /// From one instant to another.
    ///
    /// # Errors
    ///
    /// If the second is not after the first.
    pub fn range(opens: DateTime<Utc>, closes: DateTime<Utc>) -> Result<Self, ScheduleError> {
        let text = format!("{}..{}", opens.to_rfc3339(), closes.to_rfc3339());
        Self::calendar(text, opens, closes)
    }

    /// Whole days of a zone, the last one included.
    ///
    /// # Errors
    ///
    /// If the last is before the first.
    pub fn dates(first: NaiveDate, last: NaiveDate, zone: Zone) -> Result<Self, ScheduleError> {
        let midnight = |date: NaiveDate| zone.resolve(date.and_time(NaiveTime::MIN));
        let after = last.succ_opt().unwrap_or(last);
        Self::calendar(format!("{first}..{last} {zone}"), midnight(first), midnight(after))
    }

    fn calendar(text: String, opens: DateTime<Utc>, closes: DateTime<Utc>) -> Result<Self, ScheduleError> {
        if closes <= opens {
            return Err(ScheduleError::WindowReversed { window: text });
        }
        Ok(Self { text: text.into(), kind: Kind::Calendar { opens, closes } })
    }

    /// Hours of some weekdays by a zone's clock. If it does not close after it opens, it closes on the next day.
    pub fn weekly(weekdays: &[Weekday], opens: NaiveTime, closes: NaiveTime, zone: Zone) -> Self {
        let bits = weekdays.iter().fold(0u8, |bits, day| bits | 1 << day.num_days_from_sunday());
        let names: Vec<String> = weekdays.iter().map(|day| day.to_string().to_ascii_uppercase()).collect();
        let text = format!("{} {}-{} {zone}", names.join(","), opens.format("%H:%M"), closes.format("%H:%M"));
        Self::by_weekday(text, bits, seconds(opens), seconds(closes), zone)
    }

    fn by_weekday(text: String, weekdays: u8, opens: i64, closes: i64, zone: Zone) -> Self {
        let closes = if closes <= opens { closes + DAY } else { closes };
        Self { text: text.into(), kind: Kind::Weekly { weekdays, opens, closes, zone } }
    }

    /// Open for a length of time from each instant of a cron expression.
    ///
    /// # Errors
    ///
    /// If the length is nothing.
    pub fn recurring(expression: CronExpression, zone: Zone, length: Duration) -> Result<Self, ScheduleError> {
        let text = format!("{expression} {zone} for {length:?}");
        let length = TimeDelta::from_std(length).unwrap_or(TimeDelta::days(36_500)).min(TimeDelta::days(36_500));
        if length < TimeDelta::seconds(1) {
            return Err(ScheduleError::WindowReversed { window: text });
        }
        Ok(Self { text: text.into(), kind: Kind::Recurring { starts: Timing::Cron { expression, zone }, length } })
    }

    /// Reads a window: weekdays and hours (`MON-FRI 22:00-06:00`), dates (`2026-12-24..2027-01-01`, the last included) or
    /// instants (`2026-12-24T18:00:00Z..2026-12-27T06:00:00Z`).
    ///
    /// # Errors
    ///
    /// What cannot be read, with something that can.
    pub fn parse(text: &str, zone: Zone) -> Result<Self, ScheduleError> {
        let text = text.trim();
        let fail = |problem: String, nearest: &str| ScheduleError::Window {
            text: text.to_owned(),
            problem,
            nearest: nearest.to_owned(),
        };
        if let Some((from, to)) = text.split_once("..") {
            let (from, to) = (from.trim(), to.trim());
            if let (Ok(first), Ok(last)) = (from.parse(), to.parse()) {
                return Self::dates(first, last, zone);
            }
            return match (from.parse(), to.parse()) {
                (Ok(opens), Ok(closes)) => Self::range(opens, closes),
                _ => Err(fail("both ends must be dates, or instants with an offset".into(), "2026-12-24..2027-01-01")),
            };
        }
        let example = "MON-FRI 22:00-06:00";
        let (days, hours) = match text.split_once(char::is_whitespace) {
            Some((days, hours)) => (days, hours.trim()),
            None => ("*", text),
        };
        let weekdays = normalise(Field::DayOfWeek, days).map_err(|problem| fail(problem.to_string(), example))?;
        let expression = CronExpression::parse(&format!("0 0 * * {}", weekdays.text))?;
        let time = |text: &str| {
            let time = if text == "24:00" { Some(NaiveTime::MIN) } else { None };
            time.or_else(|| NaiveTime::parse_from_str(text, "%H:%M").ok())
                .ok_or_else(|| fail(format!("\"{text}\" is no time of the day"), example))
        };
        let (opens, closes) =
            hours.split_once('-').ok_or_else(|| fail(format!("\"{hours}\" is no range of hours"), example))?;
        let (opens, closes) = (time(opens.trim())?, time(closes.trim())?);
        let shown = format!("{text} {zone}");
        Ok(Self::by_weekday(shown, expression.fields.weekdays, seconds(opens), seconds(closes), zone))
    }

    /// Whether it is open at an instant.
    pub fn is_open(&self, at: DateTime<Utc>) -> bool {
        self.closing_of(at).is_some()
    }

    /// The first instant, not before another, at which it is open.
    pub fn opening(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.is_open(at) {
            return Some(at);
        }
        match &self.kind {
            Kind::Calendar { opens, .. } => (*opens >= at).then_some(*opens),
            Kind::Weekly { .. } => self.days(at).map(|(opens, _)| opens).find(|opens| *opens >= at),
            Kind::Recurring { starts, .. } => starts.next_after(at),
        }
    }

    /// The first instant after one at which it is open, at which it no longer is; none if it stays open.
    pub fn closing(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut closes = self.closing_of(at).unwrap_or(at);
        for _ in 0..LONGEST_CHAIN {
            match self.closing_of(closes) {
                Some(later) => closes = later,
                None => return Some(closes),
            }
        }
        None
    }

    /// When the recurrence closes that is open at an instant.
    fn closing_of(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.kind {
            Kind::Calendar { opens, closes } => (*opens <= at && at < *closes).then_some(*closes),
            Kind::Weekly { .. } => {
                self.days(at).take_while(|(opens, _)| *opens <= at).map(|(_, closes)| closes).filter(|c| at < *c).last()
            }
            Kind::Recurring { starts, length } => {
                starts.previous(at)?.checked_add_signed(*length).filter(|closes| at < *closes)
            }
        }
    }

    /// The recurrences of a weekly window from two days before an instant to nine days after it.
    fn days(&self, at: DateTime<Utc>) -> impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)> {
        let (weekdays, opens, closes, zone) = match &self.kind {
            Kind::Weekly { weekdays, opens, closes, zone } => (*weekdays, *opens, *closes, *zone),
            _ => (0, 0, 0, Zone::utc()),
        };
        let today = at.timestamp().div_euclid(DAY);
        (today - 2..=today + 9)
            // 1970-01-01 was a Thursday.
            .filter(move |day| weekdays & (1 << (day + 4).rem_euclid(7)) != 0)
            .map(move |day| {
                let at = |second: i64| instant(zone.resolve_wall(day * DAY + second));
                (at(opens), at(closes))
            })
            .filter(|(opens, closes)| opens < closes)
    }
}

fn seconds(time: NaiveTime) -> i64 {
    i64::from(time.num_seconds_from_midnight())
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}
