//! When a job runs by itself.

mod check;
mod moment;
mod window;

use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;

pub use moment::{Moment, Moments, TimeOfDay};
pub use window::{CalendarWindow, CronWindow, Weekday, WeeklyWindow, Window};

use crate::Duration;
use crate::decode::{Decode, Reader};
use crate::redact::quoted;
use crate::section::{record, words};
use crate::tree::Node;

const DAY: u64 = 86_400;

record! {
    /// When a job runs by itself: exactly one of cron, every and at says it.
    pub struct Schedule {
        /// By the clock: minute, hour, day of the month, month, day of the week; six fields begin with the second, seven end with the year; or @daily and its like.
        pub cron: Option<Cron> = None;
        /// At fixed intervals, whatever clocks do.
        pub every: Option<Duration> = None, within(Duration::from_secs(1), Duration::from_secs(366 * DAY));
        /// An instant from which every counts. Without it: 1970-01-01T00:00Z.
        pub anchor: Option<Moment> = None;
        /// Once, or once at each of these.
        pub at: Option<Moments> = None;
        /// The time zone by whose clocks all of this is read, as Asia/Shanghai.
        pub timezone: TimeZone = TimeZone::utc();
        /// What happens about instants at which no host was up.
        pub misfire: Misfire = Misfire::Once;
        /// The most runs that make up for missed instants, with misfire all; the latest are taken.
        pub misfire_limit: u32 = 100, within(1, 10_000);
        /// How late an instant may still be made up for.
        pub catch_up: Duration = Duration::from_secs(DAY), within(Duration::from_secs(0), Duration::from_secs(366 * DAY));
        /// What happens if the last run is not over.
        pub overlap: Overlap = Overlap::Skip;
        /// Each instant is put off by up to this, always by the same for the same instant, never beyond the next one.
        pub jitter: Duration = Duration::from_secs(0), within(Duration::from_secs(0), Duration::from_secs(DAY));
        /// The first moment at which it may fire.
        pub start: Option<Moment> = None;
        /// The moment from which it fires no more.
        pub end: Option<Moment> = None;
        /// When it may fire; at any time without it.
        pub windows: Vec<Window> = Vec::new();
        /// When it must not fire, windows or not.
        pub blackouts: Vec<Window> = Vec::new();
        /// What happens about instants outside of windows or within blackouts.
        pub outside: Outside = Outside::Skip;
        /// After so many runs in a row that failed, it is paused until a person resumes it; 0 is never.
        pub pause_after_failures: u32 = 0, within(0, 1_000);
    }
}

words! {
    /// What happens about instants at which no host was up.
    pub enum Misfire ("what a misfire does") {
        /// One run makes up for all.
        Once = "once",
        /// One run for each.
        All = "all",
        /// They are past.
        None = "none",
    }
}

words! {
    /// What happens if the last run is not over.
    pub enum Overlap ("what an overlap does") {
        /// The new one is left out.
        Skip = "skip",
        /// One new one waits.
        BufferOne = "buffer-one",
        /// All new ones wait.
        BufferAll = "buffer-all",
        /// The last one is cancelled.
        CancelOther = "cancel-other",
        /// The last one is ended at once.
        TerminateOther = "terminate-other",
        /// Both run.
        Allow = "allow",
    }
}

words! {
    /// What happens about instants outside of windows or within blackouts.
    pub enum Outside ("what happens outside of windows") {
        /// They are left out.
        Skip = "skip",
        /// They are put off until it may fire again; several become one.
        Defer = "defer",
    }
}

/// Why a text of a schedule is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleTextError(String);

/// Defines a text that is carried as it is, after a look at its form.
macro_rules! carried {
    ($(#[doc = $doc:literal])* $name:ident, $wanted:literal, $example:literal, $is_one:expr) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        pub struct $name(String);

        impl $name {
            /// As it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ScheduleTextError;

            fn from_str(text: &str) -> Result<Self, ScheduleTextError> {
                let is_one: fn(&str) -> bool = $is_one;
                let one = Some(text.trim()).filter(|text| is_one(text)).map(|text| Self(text.to_owned()));
                one.ok_or_else(|| ScheduleTextError(format!("{} is not {}, as {} is", quoted(text), $wanted, quoted($example))))
            }
        }

        impl Decode for $name {
            const WANTED: &'static str = $wanted;

            fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
                let text = reader.text(at, &node, Self::WANTED)?;
                reader.parsed(at, &node.origin, text.parse())
            }

            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1, "examples": [$example] })
            }
        }
    };
}

carried!(
    /// A cron expression. Only its form is looked at; the scheduler reads it.
    Cron,
    "a cron expression of five fields (or six, with seconds)",
    "0 2 * * *",
    |text| {
        let field = |c: char| c.is_ascii_alphanumeric() || "*,-/?#".contains(c);
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        matches!(fields.len(), 5 | 6) && fields.iter().all(|part| part.chars().all(field))
    }
);
carried!(
    /// The name of a time zone. Only its form is looked at; the scheduler knows the zones.
    TimeZone,
    "the name of a time zone",
    "Asia/Shanghai",
    |text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-/".contains(c);
        text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(allowed)
    }
);

impl TimeZone {
    fn utc() -> Self {
        Self("UTC".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_have_a_form() {
        for cron in ["0 2 * * *", "*/5 0-6,22 * JAN-MAR MON#2", "0 0 2 * * ?"] {
            assert_eq!(cron.parse::<Cron>().unwrap().as_str(), cron);
        }
        assert_eq!(
            "0 2 * *".parse::<Cron>().unwrap_err().to_string(),
            "\"0 2 * *\" is not a cron expression of five fields (or six, with seconds), as \"0 2 * * *\" is"
        );
        assert!("UTC".parse::<TimeZone>().is_ok());
        assert_eq!(
            "+8".parse::<TimeZone>().unwrap_err().to_string(),
            "\"+8\" is not the name of a time zone, as \"Asia/Shanghai\" is"
        );
    }
}
