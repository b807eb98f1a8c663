//! Lines in the run's log, and how far the run is.

use crate::Level;
use crate::host;

/// Write a line to the run's log. [`info!`](crate::info), [`warn!`](crate::warn) and [`debug!`](crate::debug) read better.
pub fn log(level: Level, message: impl AsRef<str>, fields: &[(&str, String)]) {
    let fields: Vec<(String, String)> = fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    host::run::log(level, message.as_ref(), &fields);
}

/// Say how far the run is: `done` of `total` units (`tables`, `bytes`), and what is being done.
pub fn progress(done: u64, total: Option<u64>, unit: &str, note: impl AsRef<str>) {
    host::run::progress(done, total, unit, note.as_ref());
}

/// Write to the run's log, for whoever debugs the procedure: `debug!("looked at {n} rows")`.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log($crate::Level::Debug, ::std::format!($($message)+), &[]) };
}

/// Write to the run's log: the course of things.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log($crate::Level::Info, ::std::format!($($message)+), &[]) };
}

/// Write to the run's log: something unexpected that the run survives.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log($crate::Level::Warn, ::std::format!($($message)+), &[]) };
}
