//! Windows and blackouts: spans of time in which a job may run, or must not.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::{Cron, Moment, TimeOfDay};
use crate::Duration;
use crate::decode::{Decode, Reader};
use crate::section::{record, words};
use crate::tree::{Node, Value, join};

/// A span of time, once or again and again.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Window {
    /// Once, from one moment until another.
    Calendar(CalendarWindow),
    /// On days of the week, between two times of the day.
    Weekly(WeeklyWindow),
    /// For some time from each instant of a cron expression.
    Cron(CronWindow),
}

record! {
    /// Once: from one moment until another. Dates are whole days: until = "2026-12-27" is the end of that day.
    pub struct CalendarWindow {
        /// When it begins.
        pub from: Moment;
        /// When it ends; a date is still part of it.
        pub until: Moment;
    }
}

record! {
    /// On days of the week, by the clocks of the schedule's zone.
    pub struct WeeklyWindow {
        /// The days on which it begins; every day without it.
        pub days: Vec<Weekday> = Weekday::ALL.to_vec();
        /// The time of the day at which it begins.
        pub from: TimeOfDay = TimeOfDay::START;
        /// The time at which it ends; on the next day if it is not after from.
        pub until: TimeOfDay = TimeOfDay::END;
    }
}

record! {
    /// For some time from each instant of a cron expression.
    pub struct CronWindow {
        /// When it begins, again and again.
        pub cron: Cron;
        /// How long it lasts.
        pub duration: Duration, within(Duration::from_secs(1), Duration::from_secs(366 * 86_400));
    }
}

words! {
    /// A day of the week.
    pub enum Weekday ("a day of the week") {
        /// Monday.
        Monday = "mon",
        /// Tuesday.
        Tuesday = "tue",
        /// Wednesday.
        Wednesday = "wed",
        /// Thursday.
        Thursday = "thu",
        /// Friday.
        Friday = "fri",
        /// Saturday.
        Saturday = "sat",
        /// Sunday.
        Sunday = "sun",
    }
}

impl Decode for Window {
    const WANTED: &'static str = "a window such as { days = [\"sat\"], from = \"22:00\", until = \"06:00\" }";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let node = reader.typed(node);
        let Value::Table(table) = &node.value else { return reader.wrong_type(at, &node, Self::WANTED) };
        let origin = node.origin.clone();
        let has = |key: &str| table.contains(key);
        let is_time = |key: &str| match table.get(key).map(|entry| &entry.node.value) {
            Some(Value::String(text) | Value::Untyped(text) | Value::Datetime(text)) => {
                text.parse::<TimeOfDay>().is_ok()
            }
            _ => false,
        };
        if has("cron") || has("duration") {
            return CronWindow::decode(reader, at, node).map(Self::Cron);
        }
        if has("days") || is_time("from") || is_time("until") {
            let window = WeeklyWindow::decode(reader, at, node)?;
            if window.days.is_empty() {
                return reader.refuse(&origin, format!("{} must name at least one day", join(at, "days")));
            }
            if window.from == TimeOfDay::END {
                let message = format!("{} must be before 24:00; write 00:00 for the day after", join(at, "from"));
                return reader.refuse(&origin, message);
            }
            return Some(Self::Weekly(window));
        }
        if table.is_empty() {
            return reader.refuse(&origin, format!("{at} must be {}", Self::WANTED));
        }
        CalendarWindow::decode(reader, at, node).map(Self::Calendar)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let kinds = [
            generator.subschema_for::<CalendarWindow>(),
            generator.subschema_for::<WeeklyWindow>(),
            generator.subschema_for::<CronWindow>(),
        ];
        json_schema!({ "anyOf": kinds })
    }
}
