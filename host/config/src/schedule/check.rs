//! What does not fit together in a schedule.

use super::{Moment, Overlap, Schedule, Window};
use crate::Job;
use crate::check::Look;
use crate::problem::Problem;

impl Look<'_> {
    /// Reports what does not fit together in the schedule at a key.
    pub(crate) fn schedule(&self, at: &str, schedule: &Schedule, job: &Job) {
        self.timing(at, schedule);
        self.bounds(at, schedule);
        for (list, windows) in [("windows", &schedule.windows), ("blackouts", &schedule.blackouts)] {
            for (i, window) in windows.iter().enumerate() {
                if let Window::Calendar(window) = window
                    && is_after(window.from, window.until)
                {
                    let key = format!("{at}.{list}[{i}]");
                    let message = format!("{key} ends ({}) before it begins ({})", window.until, window.from);
                    self.refuse(&format!("{key}.until"), message, "write the earlier one first");
                }
            }
        }
        let unused = |key: &str, why: &str| {
            let key = format!("{at}.{key}");
            if self.is_set(&key) {
                self.reader.report(Problem::warning(self.place(&key), format!("{key} does nothing {why}")));
            }
        };
        if schedule.windows.is_empty() && schedule.blackouts.is_empty() {
            unused("outside", "without windows and blackouts");
        }
        if schedule.misfire != super::Misfire::All {
            unused("misfire_limit", "without misfire = \"all\"");
        }
        if schedule.overlap == Overlap::Allow && job.concurrency == 1 {
            unused("overlap", "while the job's concurrency is 1: the new run waits for the last one");
        }
    }

    /// Exactly one of cron, every and at.
    fn timing(&self, at: &str, schedule: &Schedule) {
        let all =
            [("cron", schedule.cron.is_some()), ("every", schedule.every.is_some()), ("at", schedule.at.is_some())];
        let set: Vec<&str> = all.into_iter().filter(|(_, set)| *set).map(|(key, _)| key).collect();
        match *set {
            [] => {
                let message = format!("{at} needs one of the keys \"cron\", \"every\" and \"at\"");
                self.refuse(at, message, "as in schedule = { cron = \"0 2 * * *\" }");
            }
            [_] => {}
            [first, second, ..] => {
                let message =
                    format!("{at}.{first} and {at}.{second} are both set, and one of them says when it fires");
                self.refuse(&format!("{at}.{second}"), message, "keep one of the two");
            }
        }
        if schedule.anchor.is_some() && schedule.every.is_none() {
            let message = format!("{at}.anchor is where intervals count from, and there is no {at}.every");
            self.refuse(&format!("{at}.anchor"), message, "");
        }
    }

    fn bounds(&self, at: &str, schedule: &Schedule) {
        if let (Some(start), Some(end)) = (schedule.start, schedule.end)
            && is_after(start, end)
        {
            let message = format!("{at}.end ({end}) is not after {at}.start ({start})");
            self.refuse(&format!("{at}.end"), message, "");
        }
    }
}

/// Whether a moment is not before another, as far as that can be told without the zone.
fn is_after(one: Moment, other: Moment) -> bool {
    match (one, other) {
        (Moment::Instant(one), Moment::Instant(other)) => one >= other,
        _ => one.local().zip(other.local()).is_some_and(|(one, other)| one >= other),
    }
}
