//! When a job runs by itself.

mod check;
mod moment;
mod resolve;
mod window;

use std::fmt;
use std::str::FromStr;

use rota_schedule::{CronExpression, Zone};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

pub use moment::{Moment, Moments, TimeOfDay};
pub use window::{CalendarWindow, CronWindow, Weekday, WeeklyWindow, Window};

use crate::Duration;
use crate::decode::{Decode, Reader};
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
        /// The moment from which it fires no more; a date is still part of it.
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

/// Defines a text that the scheduler reads, kept as it was written beside what it means.
macro_rules! read_by_the_scheduler {
    ($(#[doc = $doc:literal])* $name:ident($means:ty), $meaning:ident, $wanted:literal, $example:literal, $read:expr) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            text: String,
            $meaning: $means,
        }

        impl $name {
            /// As it was written.
            pub fn as_str(&self) -> &str {
                &self.text
            }

            /// What it means.
            pub fn $meaning(&self) -> &$means {
                &self.$meaning
            }
        }

        impl FromStr for $name {
            type Err = ScheduleTextError;

            fn from_str(text: &str) -> Result<Self, ScheduleTextError> {
                let text = text.trim();
                match $read(text) {
                    Ok($meaning) => Ok(Self { text: text.to_owned(), $meaning }),
                    Err(error) => Err(ScheduleTextError(rota_telemetry::clean_line(&error.to_string()))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
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

read_by_the_scheduler!(
    /// A cron expression.
    Cron(CronExpression),
    expression,
    "a cron expression of five fields (six with seconds, seven with years)",
    "0 2 * * *",
    CronExpression::parse
);
read_by_the_scheduler!(
    /// The name of a time zone.
    TimeZone(Zone),
    zone,
    "the name of a time zone",
    "Asia/Shanghai",
    Zone::named
);

impl TimeZone {
    fn utc() -> Self {
        Self { text: "UTC".to_owned(), zone: Zone::utc() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_and_zones_are_kept_as_written() {
        for cron in ["0 2 * * *", "*/5 0-6,22 * JAN-MAR MON", "30 0 2 * * *", "@daily"] {
            assert_eq!(cron.parse::<Cron>().unwrap().as_str(), cron);
        }
        assert_eq!(" @daily ".parse::<Cron>().unwrap().expression().as_str(), "0 0 * * *");
        assert_eq!("Asia/Shanghai".parse::<TimeZone>().unwrap().zone().name(), "Asia/Shanghai");
        assert_eq!("UTC".parse::<TimeZone>(), Ok(TimeZone::utc()));
    }

    #[test]
    fn an_error_steers_no_terminal() {
        for text in ["\u{1b}[31m * * * *", "0 \u{1b} * * *"] {
            assert!(!text.parse::<Cron>().unwrap_err().to_string().contains('\u{1b}'));
            assert!(!text.parse::<TimeZone>().unwrap_err().to_string().contains('\u{1b}'));
        }
    }
}
