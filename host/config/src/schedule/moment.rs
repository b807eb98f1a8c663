//! Instants and times of the day as people write them.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use rota_schedule::Zone;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::ScheduleTextError;
use crate::decode::{Decode, Reader};
use crate::redact::quoted;
use crate::tree::{Node, Value};

/// An instant, or a date or time that is one in the schedule's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// With its offset: the same everywhere. `2026-12-24T18:00:00+08:00`
    Instant(DateTime<Utc>),
    /// As clocks of the zone show it. `2026-12-24T18:00`
    Local(NaiveDateTime),
    /// That day in the zone: where something begins, its first instant, and where something ends, its end. `2026-12-24`
    Date(NaiveDate),
}

impl Moment {
    /// When it begins, in a zone: what falls into a gap of its clocks is the first instant after it.
    pub fn beginning(self, zone: &Zone) -> DateTime<Utc> {
        match self {
            Self::Instant(instant) => instant,
            Self::Local(time) => zone.resolve(time),
            Self::Date(date) => zone.resolve(date.and_time(NaiveTime::MIN)),
        }
    }

    /// What it is as the end of something, in a zone: of a date, the end of its day.
    pub fn ending(self, zone: &Zone) -> DateTime<Utc> {
        match self {
            Self::Date(date) => Self::Date(date.succ_opt().unwrap_or(date)).beginning(zone),
            other => other.beginning(zone),
        }
    }
}

/// The years that a moment may be in.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2100;

impl FromStr for Moment {
    type Err = ScheduleTextError;

    fn from_str(text: &str) -> Result<Self, ScheduleTextError> {
        use chrono::Datelike as _;
        let text = text.trim();
        // TOML and people write a blank where RFC 3339 has a T.
        let normal = match text.as_bytes().get(10) {
            Some(b' ' | b't') => format!("{}T{}", &text[..10], &text[11..]),
            _ => text.to_owned(),
        };
        let local = || {
            ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
                .into_iter()
                .find_map(|form| NaiveDateTime::parse_from_str(&normal, form).ok())
        };
        // RFC 3339 has seconds; people leave them out.
        let instant = || {
            DateTime::parse_from_rfc3339(&normal)
                .or_else(|_| DateTime::parse_from_str(&normal, "%Y-%m-%dT%H:%M%#z"))
                .ok()
        };
        let date = || NaiveDate::parse_from_str(&normal, "%Y-%m-%d").ok().filter(|_| normal.len() == 10);
        let moment = (date().map(Self::Date))
            .or_else(|| local().map(Self::Local))
            .or_else(|| instant().map(|instant| Self::Instant(instant.to_utc())));
        let Some(moment) = moment else {
            let forms =
                "write it as 2026-12-24T18:00:00+08:00, or in the schedule's zone as 2026-12-24T18:00 or 2026-12-24";
            return Err(ScheduleTextError(format!("{} is neither an instant nor a date; {forms}", quoted(text))));
        };
        let year = match moment {
            Self::Instant(instant) => instant.year(),
            Self::Local(time) => time.year(),
            Self::Date(date) => date.year(),
        };
        if !YEARS.contains(&year) {
            return Err(ScheduleTextError(format!("{} is not within the years 1970 to 2100", quoted(text))));
        }
        Ok(moment)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instant(instant) => f.write_str(&instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
            Self::Local(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.f")),
            Self::Date(date) => write!(f, "{date}"),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for Moment {
    const WANTED: &'static str = "an instant such as \"2026-12-24T18:00:00+08:00\", or a date such as \"2026-12-24\"";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = date_or_time(reader, at, &node, Self::WANTED)?;
        reader.parsed(at, &node.origin, text.parse())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        let examples = ["2026-12-24T18:00:00+08:00", "2026-12-24T18:00", "2026-12-24"];
        json_schema!({ "type": "string", "minLength": 10, "examples": examples })
    }
}

/// One moment or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moments(Vec<Moment>);

impl Moments {
    /// Each of them, as written.
    pub fn as_slice(&self) -> &[Moment] {
        &self.0
    }
}

impl Decode for Moments {
    const WANTED: &'static str = "an instant, or a list of them";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let origin = node.origin.clone();
        let moments = crate::decode::one_or_many::<Moment>(reader, at, node)?;
        if moments.is_empty() {
            return reader.refuse(&origin, format!("{at} must name at least one instant"));
        }
        Some(Self(moments))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let one = Moment::schema(generator);
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// A time of the day, as clocks show it: `22:00`, `22:00:30`; `24:00` is the end of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(u32);

impl TimeOfDay {
    /// The beginning of the day, 00:00.
    pub const START: Self = Self(0);
    /// The end of the day, 24:00.
    pub const END: Self = Self(86_400);

    /// Seconds since 00:00, 0 to 86400.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl FromStr for TimeOfDay {
    type Err = ScheduleTextError;

    fn from_str(text: &str) -> Result<Self, ScheduleTextError> {
        let wrong = || ScheduleTextError(format!("{} is not a time of the day, as \"22:00\" is", quoted(text)));
        let parts: Vec<&str> = text.trim().split(':').collect();
        let number = |part: &&str| {
            let digits = matches!(part.len(), 1 | 2) && part.chars().all(|c| c.is_ascii_digit());
            if digits { part.parse::<u32>().ok() } else { None }
        };
        let numbers: Option<Vec<u32>> = parts.iter().map(number).collect();
        let (hours, minutes, seconds) = match numbers.as_deref() {
            Some([hours, minutes]) => (*hours, *minutes, 0),
            Some([hours, minutes, seconds]) => (*hours, *minutes, *seconds),
            _ => return Err(wrong()),
        };
        let all = hours * 3_600 + minutes * 60 + seconds;
        if minutes > 59 || seconds > 59 || all > Self::END.0 { Err(wrong()) } else { Ok(Self(all)) }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 3_600, self.0 / 60 % 60)?;
        if self.0.is_multiple_of(60) { Ok(()) } else { write!(f, ":{:02}", self.0 % 60) }
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for TimeOfDay {
    const WANTED: &'static str = "a time of the day such as \"22:00\"";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = date_or_time(reader, at, &node, Self::WANTED)?;
        reader.parsed(at, &node.origin, text.parse())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?$", "examples": ["22:00"] })
    }
}

/// The text of a string, or of a date or time that TOML has a type for.
fn date_or_time(reader: &Reader, at: &str, node: &Node, wanted: &str) -> Option<String> {
    match &node.value {
        Value::Datetime(text) => Some(text.clone()),
        _ => reader.text(at, node, wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_shown() {
        for (text, shown) in [
            ("2026-12-24", "2026-12-24"),
            ("2026-12-24T18:00", "2026-12-24T18:00:00"),
            ("2026-12-24 18:00:30", "2026-12-24T18:00:30"),
            ("2026-12-24T18:00:00+08:00", "2026-12-24T10:00:00Z"),
            ("2026-12-24T18:00+08:00", "2026-12-24T10:00:00Z"),
            ("2026-12-24t18:00:00.250Z", "2026-12-24T18:00:00.250Z"),
            ("2026-12-24 18:00Z", "2026-12-24T18:00:00Z"),
        ] {
            let moment: Moment = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(moment.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Moment>(), Ok(moment), "{text}");
        }
        for wrong in ["", "soon", "2026-02-30", "2026-13-01", "24.12.2026", "2026-12-24T25:00", "18:00", "é2026-12-2 é"]
        {
            let message = wrong.parse::<Moment>().unwrap_err().to_string();
            assert!(message.contains("is neither an instant nor a date; write it as"), "{wrong}: {message}");
        }
        for wrong in ["1969-12-31", "2101-01-01T00:00Z"] {
            assert!(wrong.parse::<Moment>().unwrap_err().to_string().contains("1970 to 2100"), "{wrong}");
        }
    }

    #[test]
    fn a_date_begins_at_its_first_instant_and_ends_with_its_last() {
        let zone = Zone::named("America/New_York").unwrap();
        let at = |text: &str, end: bool| {
            let moment: Moment = text.parse().unwrap();
            if end { moment.ending(&zone) } else { moment.beginning(&zone) }.to_rfc3339()
        };
        assert_eq!(at("2026-07-01", false), "2026-07-01T04:00:00+00:00");
        assert_eq!(at("2026-07-01", true), "2026-07-02T04:00:00+00:00");
        assert_eq!(at("2026-07-01T12:00", true), "2026-07-01T16:00:00+00:00");
        assert_eq!(at("2026-07-01T12:00Z", false), "2026-07-01T12:00:00+00:00");
        // Clocks are put forward from 02:00 to 03:00.
        assert_eq!(at("2026-03-08T02:30", false), "2026-03-08T07:00:00+00:00");
    }

    #[test]
    fn times_of_the_day_are_read_and_shown() {
        for (text, seconds, shown) in [
            ("22:00", 79_200, "22:00"),
            ("6:05", 21_900, "06:05"),
            ("00:00:01", 1, "00:00:01"),
            ("24:00", 86_400, "24:00"),
        ] {
            let time: TimeOfDay = text.parse().unwrap();
            assert_eq!((time.seconds(), time.to_string().as_str()), (seconds, shown));
        }
        for wrong in ["", "22", "24:01", "22:60", "22:00:60", "-1:00", "22:00:00:00", "+2:00", "10pm"] {
            assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong}");
        }
    }
}
