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
                    && is_after(window.from, window.until, schedule)
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
            && is_after(start, end, schedule)
        {
            let message = format!("{at}.end ({end}) is not after {at}.start ({start})");
            self.refuse(&format!("{at}.end"), message, "");
        }
    }
}

/// Whether nothing lies between a moment that begins something and one that ends it.
fn is_after(begin: Moment, end: Moment, schedule: &Schedule) -> bool {
    let zone = schedule.timezone.zone();
    begin.beginning(zone) >= end.ending(zone)
}
