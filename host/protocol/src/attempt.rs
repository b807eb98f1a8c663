//! What follows an attempt of a run.

use crate::compensation::{self, CompensationState};
use crate::state::{End, Event};
use crate::time::Span;
use serde::{Deserialize, Serialize};

/// What is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// How often, beyond the first attempt.
    pub limit: u32,
    /// How long until the second attempt; each further one waits twice as long.
    pub backoff: Span,
    /// The longest wait.
    pub cap: Span,
    /// The share of the wait that is random, 0 to 1.
    pub jitter: f64,
    /// Also faults that their target does not call retryable.
    pub any_fault: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { limit: 0, backoff: Span::seconds(60), cap: Span::seconds(3600), jitter: 0.2, any_fault: false }
    }
}

/// Whether a failure may pass by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// The target said so (or could not be reached): the same call may succeed later.
    Retryable,
    /// It will not.
    Lasting,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptEnd {
    /// The procedure reported, and every effect has an outcome.
    Reported,
    /// The procedure reported, but an effect was still under way: what became of it is not known.
    InDoubt,
    /// The procedure said why it could not, or trapped, or went over a limit.
    Failed(Fault),
    /// It lacked a grant.
    Denied,
    /// The attempt's (or run's) time was over.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled,
    /// Its worker vanished, or lost its lease.
    Vanished,
    /// Its host drained, and hands the run back; the procedure was stopped.
    HandedBack,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterAttempt {
    /// Another, after a wait.
    Retry {
        /// How long to wait.
        wait: Span,
    },
    /// The run ends so, after whatever there is to undo.
    End(End),
}

impl AfterAttempt {
    /// What happens to the run: where something is to be undone, a run that did not succeed undoes it before it ends. (One that
    /// succeeded dismisses what is left of its compensations.)
    #[must_use]
    pub fn event(self, compensations: &[CompensationState]) -> Event {
        match self {
            Self::Retry { .. } => Event::Retry,
            Self::End(end) if end != End::Succeeded && compensation::any_open(compensations) => Event::Undo,
            Self::End(end) => Event::End(end),
        }
    }
}

impl RetryPolicy {
    /// What follows attempt number `attempt` (1 for the first) of a run. `random` is uniform in 0..1.
    ///
    /// Nothing is tried again that a person stopped, that lacked a grant or that reported. A procedure that is not idempotent is
    /// not tried again at all: what its last attempt did cannot be told. One whose worker vanished, or that was handed back, is, where it
    /// is idempotent: beyond the limit, too, as long as `limit + attempts_lost` is not used up, since that was no fault of its own.
    #[must_use]
    pub fn after(&self, end: AttemptEnd, attempt: u32, idempotent: bool, random: f64) -> AfterAttempt {
        let again = || AfterAttempt::Retry { wait: self.wait(attempt, random) };
        match end {
            AttemptEnd::Reported => AfterAttempt::End(End::Succeeded),
            AttemptEnd::InDoubt => AfterAttempt::End(End::Unknown),
            AttemptEnd::Denied => AfterAttempt::End(End::Denied),
            AttemptEnd::Cancelled => AfterAttempt::End(End::Cancelled),
            AttemptEnd::Failed(fault) => {
                let passes = fault == Fault::Retryable || self.any_fault;
                if passes && idempotent && attempt <= self.limit { again() } else { AfterAttempt::End(End::Failed) }
            }
            AttemptEnd::TimedOut => {
                if self.any_fault && idempotent && attempt <= self.limit {
                    again()
                } else {
                    AfterAttempt::End(End::TimedOut)
                }
            }
            AttemptEnd::Vanished | AttemptEnd::HandedBack => {
                if idempotent && attempt <= self.limit.saturating_add(LOST_ATTEMPTS) {
                    AfterAttempt::Retry { wait: Span(0) }
                } else {
                    AfterAttempt::End(End::Unknown)
                }
            }
        }
    }

    /// How long to wait after an attempt.
    #[must_use]
    pub fn wait(&self, attempt: u32, random: f64) -> Span {
        let doubled =
            self.backoff.0.saturating_mul(1_i64.checked_shl(attempt.saturating_sub(1).min(40)).unwrap_or(i64::MAX));
        let wait = doubled.clamp(0, self.cap.0.max(0));
        // Full precision is not needed of a random wait.
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a random share of a wait")]
        let jitter = (wait as f64 * self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0)) as i64;
        Span((wait - jitter).max(0))
    }
}

/// How many attempts of an idempotent run may be lost to vanished hosts before the run is taken for what makes them vanish.
pub const LOST_ATTEMPTS: u32 = 5;
