//! Configurations with many jobs, each with a schedule of its own.

use chrono::{DateTime, SecondsFormat, Utc};
use std::fmt::Write as _;

/// Jobs in a file: one may have 8 MiB.
const OF_A_FILE: u32 = 40_000;

/// Jobs that do nothing each hour from an instant of their own on, as files of a configuration.
pub(crate) fn hourly(count: u32, first: impl Fn(u32) -> DateTime<Utc>) -> Vec<String> {
    let mut files = Vec::new();
    for from in (0..count).step_by(OF_A_FILE as usize) {
        let mut text = String::new();
        for job in from..count.min(from + OF_A_FILE) {
            let anchor = first(job).to_rfc3339_opts(SecondsFormat::Millis, true);
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "[jobs.j{job:07}]\nplugin = \"GUEST\"\nschedule = {{ every = \"1h\", anchor = \"{anchor}\" }}"
            );
        }
        files.push(text);
    }
    files
}
