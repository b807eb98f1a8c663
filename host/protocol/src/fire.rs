//! Firing a schedule: exactly one decision for each (schedule, nominal instant).
//!
//! A schedule on record has a [`Cursor`]: the last instant that was decided about, the next one, and a version. A decision is
//! written in one transaction with the run that it makes, and only if the version is still the one that the decider read:
//! whoever comes second writes nothing. Beside that, the store has a primary key (schedule, nominal instant) over decisions.

use crate::time::Instant;

/// Where a schedule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Grows with each decision and each change of the schedule.
    pub version: i64,
    /// The last instant that was decided about.
    pub decided: Option<Instant>,
    /// The next nominal instant; none for a schedule that is over.
    pub next: Option<Instant>,
}

/// What was decided about an instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FireOutcome {
    /// A run was made.
    Fired {
        /// Its id.
        run: String,
    },
    /// No run; and why.
    Skipped {
        /// A stable word: `overlap`, `missed`, `window`, `blackout`, `paused` ... What is more to say follows it after `: `.
        reason: String,
    },
}

/// Why a decision was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FireRefused {
    /// Somebody else decided first, or the schedule was changed.
    #[error("the schedule was decided on or changed meanwhile")]
    Stale,
    /// The instant is not the schedule's next one.
    #[error("the instant is not the next one of the schedule")]
    NotNext,
    /// It is not due yet.
    #[error("the instant is not due yet")]
    Early,
}

impl Cursor {
    /// The cursor after a decision about its next instant; `next` is what follows.
    ///
    /// # Errors
    /// When the cursor moved since `read` was read, the instant is not the next one, or it is not due.
    pub fn decide(
        &self,
        read: i64,
        nominal: Instant,
        next: Option<Instant>,
        now: Instant,
    ) -> Result<Self, FireRefused> {
        if self.version != read {
            return Err(FireRefused::Stale);
        }
        if self.next != Some(nominal) || self.decided.is_some_and(|decided| decided >= nominal) {
            return Err(FireRefused::NotNext);
        }
        if nominal > now {
            return Err(FireRefused::Early);
        }
        if next.is_some_and(|next| next <= nominal) {
            return Err(FireRefused::NotNext);
        }
        Ok(Self { version: self.version + 1, decided: Some(nominal), next })
    }

    /// After which instant the next one is looked for when the schedule is defined anew or resumed: never an instant that was decided
    /// about already, also where the clock was set back since.
    #[must_use]
    pub fn look_after(&self, now: Instant) -> Instant {
        self.decided.map_or(now, |decided| decided.max(now))
    }

    /// The cursor after the schedule was defined anew, paused or resumed; `next` is the first instant of what it is now after
    /// [`Self::look_after`].
    ///
    /// An instant that is due stays the next one until it is decided about: what the schedule owes does not vanish with a change.
    ///
    /// # Errors
    /// When the cursor moved since `read` was read, or `next` was decided about before: no decision could ever be written of it.
    pub fn redefine(&self, read: i64, next: Option<Instant>, now: Instant) -> Result<Self, FireRefused> {
        if self.version != read {
            return Err(FireRefused::Stale);
        }
        let next = self.next.filter(|due| *due <= now).or(next);
        if next.is_some_and(|next| self.decided.is_some_and(|decided| next <= decided)) {
            return Err(FireRefused::NotNext);
        }
        Ok(Self { version: self.version + 1, decided: self.decided, next })
    }
}
