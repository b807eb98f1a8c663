//! A schedule's maintenance windows and blackouts together.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::error::ScheduleError;
use crate::reason::Reason;
use crate::window::Window;
use crate::words::word;

/// How often windows and blackouts may take turns before it counts as never.
const MOST_TURNS: usize = 10_000;

/// What becomes of an instant at which a schedule may not fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Outside {
    /// It is skipped.
    #[default]
    Skip,
    /// It fires when next it may; several of them together, once.
    Defer,
}

impl Outside {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Defer => "defer",
        }
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Outside {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        word(text, "rule for instants outside", "skip and defer", [("skip", Self::Skip), ("defer", Self::Defer)])
    }
}

/// When a schedule may fire: within any maintenance window (always, if there is none) and within no blackout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Windows {
    /// Only within one of these.
    pub maintenance: Vec<Window>,
    /// Never within one of these.
    pub blackouts: Vec<Window>,
    /// What becomes of other instants.
    pub outside: Outside,
}

impl Windows {
    /// Whether it restricts nothing.
    pub fn is_empty(&self) -> bool {
        self.maintenance.is_empty() && self.blackouts.is_empty()
    }

    /// Why a schedule may not fire at an instant, with the blackout if it is one; nothing if it may.
    pub fn closed(&self, at: DateTime<Utc>) -> Option<(Reason, Option<&Window>)> {
        if let Some(blackout) = self.blackouts.iter().find(|window| window.is_open(at)) {
            return Some((Reason::Blackout, Some(blackout)));
        }
        let within = self.maintenance.is_empty() || self.maintenance.iter().any(|window| window.is_open(at));
        (!within).then_some((Reason::OutsideWindow, None))
    }

    /// The first instant, not before another, at which a schedule may fire.
    pub fn opening(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut at = at;
        for _ in 0..MOST_TURNS {
            if !self.maintenance.is_empty() {
                at = self.maintenance.iter().filter_map(|window| window.opening(at)).min()?;
            }
            match self.blackouts.iter().find(|window| window.is_open(at)) {
                Some(blackout) => at = blackout.closing(at)?,
                None => return Some(at),
            }
        }
        None
    }

    /// The first instant after one at which a schedule may fire, at which it no longer may; none if it always may.
    pub fn closing(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let blackout = self.blackouts.iter().filter_map(|window| window.opening(at)).min();
        if self.maintenance.is_empty() {
            return blackout;
        }
        let mut end = at;
        for _ in 0..MOST_TURNS {
            if blackout.is_some_and(|blackout| blackout <= end) {
                return blackout;
            }
            let Some(window) = self.maintenance.iter().find(|window| window.is_open(end)) else { return Some(end) };
            match window.closing(end) {
                Some(closes) => end = closes,
                None => return blackout,
            }
        }
        blackout
    }
}
