//! When jobs run by themselves: cron expressions in time zones, fixed intervals and one-off instants, and what is decided
//! about each instant: fire, defer, skip, miss.
//!
//! The crate is pure: it reads no clock, file or variable and starts nothing. The current instant is always a parameter,
//! so whoever calls it can be tested with any clock. [`Schedule`] is the door; [`Timing`] alone says which instants there
//! are.
//!
//! # Cron expressions
//!
//! | fields | |
//! |---|---|
//! | 5 | minute, hour, day-of-month, month, day-of-week |
//! | 6 | second first |
//! | 7 | and year (1970-2100) last |
//!
//! - Lists `1,5`, ranges `1-5`, steps `*/15` and `1-30/10`, names of months and weekdays (three letters or in full, any
//!   case), `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight`, `@hourly`.
//! - Weekdays are Vixie's: 0 and 7 are Sunday, 1 is Monday. Ranges of names may go through the end of the week or year
//!   (`FRI-MON`, `NOV-FEB`); ranges of numbers may not.
//! - `L`, `W`, `#` and `?`, a step after a single number (`5/15`) and a step that leaves its range at once (`*/90` in the
//!   minute field) are refused, with what to write instead. So is an expression that never comes (30 February).
//! - **Days** follow Vixie's rule: if both day-of-month and day-of-week are restricted, a day fires that matches *either*.
//!   If `*` or `*/n` stands in one of them it must match *both*; so `0 0 */2 * 1` fires on Mondays with an odd date. The
//!   whole range written out (`1-31`) is a restriction.
//!
//! # Gaps and folds
//!
//! An expression is **interval-like** if `*` or `*/n` stands in its minute or hour field, as for Vixie's cron, or if
//! either holds every number. Any other is a **fixed time**.
//!
//! | | fixed time | interval-like |
//! |---|---|---|
//! | gap (clocks put forward) | fires at the first instant after the gap, once for all that the gap swallowed | with every hour: goes on evenly, nothing is added. With some hours: as a fixed time, so that nothing is lost |
//! | fold (clocks put back) | fires once, the first time the clock shows it | fires at each instant that shows it |
//!
//! Vixie's cron loses what an interval-like expression with some hours would have run in a gap (`*/30 2 * * *` on the day on
//! which there is no hour 2); this crate makes up for it with one fire.
//!
//! # Decisions
//!
//! A host asks [`Schedule::next_decision`] when to wake, calls [`Schedule::decide`] then, and writes the runs, what is missed
//! and the new [`ScheduleState`] in one transaction. Every nominal instant up to [`ScheduleState::decided_until`] is decided,
//! once, with a [`Reason`]; so a clock that is put back repeats nothing, and what a clock that is put forward passes over is
//! overdue like what a sleeping host has missed.
//!
//! ```
//! use std::time::Duration;
//! use rota_schedule::{CronExpression, Misfire, Reason, Schedule, ScheduleState, Timing, Zone};
//!
//! let expression = CronExpression::parse("0 2 * * *")?;
//! let timing = Timing::Cron { expression, zone: Zone::named("Asia/Shanghai")? };
//! let schedule = Schedule { misfire: Misfire::Once, ..Schedule::new("nightly-backup", timing) };
//! let state = ScheduleState::new("2026-06-01T12:00:00Z".parse()?);
//! let decided = schedule.decide(&state, "2026-06-04T12:00:00Z".parse()?, Duration::from_secs(60));
//! assert_eq!(decided.fires[0].nominal.to_rfc3339(), "2026-06-03T18:00:00+00:00");
//! assert_eq!(decided.fires[0].reason, Reason::Late);
//! assert_eq!((decided.missed[0].reason, decided.missed[0].count), (Reason::Superseded, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - **On time** is what is due for no longer than the tolerance. What is overdue is the [`Misfire`] policy's: `once` fires
//!   the latest of all (and none if another instant is on time, which then stands for them), `all` the latest up to a limit,
//!   `none` none. What is longer ago than the catch-up window is missed in any case.
//! - **Windows**: outside of them an instant is skipped or, by [`Outside::Defer`], waits for the next opening. Of all that
//!   would wait for the same opening the first fires, unless an instant comes at the opening itself. A window that is written
//!   by weekday and hour goes by the wall clock, from the first time that it shows the opening to the first time that it shows
//!   the closing.
//! - **Jitter** delays an instant by a span that only the job's name and the instant decide. It ends before the next
//!   instant, before the window closes and before the schedule ends.
//! - **Bounds**: missed instants are counted, exactly, and listed one entry a reason. At most [`MOST_ON_TIME`] instants fire
//!   on time at once. Of more than 2,000 openings and closings in one range the latest are walked through; instants before
//!   them are counted as [`Reason::BeyondLimit`], whatever windows would have made of them.
//!
//! # What crate `cron` does here, and what it does not
//!
//! [`CronExpression`] normalises what was written and lets crate `cron` evaluate each field to its numbers. Walking through
//! time is done here, because that crate skips what falls into a gap, fires twice in a fold, wants both days to match, and
//! keeps each field in a tree. Here each field is a set of bits and each zone a table of spans with one offset: the next
//! instant is found field by field, and instants are counted without going through them.

mod decide;
mod error;
mod expression;
mod field;
mod forecast;
mod instants;
mod jitter;
mod misfire;
mod overlap;
mod reason;
mod schedule;
mod timing;
mod walk;
mod window;
mod windows;
mod words;
mod zone;

pub use decide::{Decided, MOST_ON_TIME, Missed};
pub use error::{FieldProblem, ScheduleError};
pub use expression::CronExpression;
pub use field::Field;
pub use forecast::{ClockMark, Expected};
pub use jitter::jitter;
pub use misfire::Misfire;
pub use overlap::{Overlap, OverlapDecision};
pub use reason::Reason;
pub use schedule::{Deferred, Fire, Schedule, ScheduleState};
pub use timing::{Every, Instants, Timing};
pub use window::Window;
pub use windows::{Outside, Windows};
pub use zone::{LocalTime, Zone};
