//! Durable undo: which one is next, and what follows it.
//!
//! A compensation is on record before the effect that it undoes. When the run does not finish, they are carried out last in, first
//! out, by whoever holds the run, each in a lease-fenced attempt of its own. One that is begun and whose outcome is not on
//! record is carried out again: undoing must be harmless to repeat.

use crate::attempt::LOST_ATTEMPTS;
use crate::state::{End, Event};
use crate::time::Span;
use serde::{Deserialize, Serialize};

/// The state of a compensation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompensationState {
    /// Would be carried out if the run did not finish.
    Registered,
    /// No longer wanted: the run has passed the point.
    Dismissed,
    /// Being carried out; or its worker vanished meanwhile.
    Running,
    /// Carried out.
    Done,
    /// It failed as often as it may; a person must retry it or settle it by hand.
    Failed,
    /// A person has settled it by hand.
    Settled,
}

/// How compensations are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UndoPolicy {
    /// How often each is tried.
    pub attempts: u32,
    /// How long until it is tried again; each further time twice as long.
    pub backoff: Span,
    /// The longest that one attempt may take.
    pub timeout: Span,
}

impl Default for UndoPolicy {
    fn default() -> Self {
        Self { attempts: 5, backoff: Span::seconds(5), timeout: Span::seconds(600) }
    }
}

/// What follows an attempt of a compensation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterCompensation {
    /// The next one.
    Next,
    /// The same again, after a wait.
    Again {
        /// How long.
        wait: Span,
    },
    /// The run is `compensation-failed`. Those registered before it are not carried out: they may rely on what it should have undone.
    GiveUp,
}

impl CompensationState {
    /// The word in records and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Dismissed => "dismissed",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Settled => "settled",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Registered, Self::Dismissed, Self::Running, Self::Done, Self::Failed, Self::Settled]
            .into_iter()
            .find(|state| state.as_str() == word)
    }

    /// Whether it still has to be carried out when the run does not finish.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Registered | Self::Running)
    }
}

/// Which compensation is next: the last registered of those that are open; none when a failed one bars the way or all are through.
/// `states` are in the order of registration.
#[must_use]
pub fn next(states: &[CompensationState]) -> Option<usize> {
    if states.contains(&CompensationState::Failed) {
        return None;
    }
    states.iter().rposition(|state| state.is_open())
}

/// Whether anything is left to undo.
#[must_use]
pub fn any_open(states: &[CompensationState]) -> bool {
    states.iter().any(|state| state.is_open())
}

/// What happens to the run when a person has settled the failed compensation by hand; `states` are those after that.
///
/// Those registered before it waited for it, and are carried out now: the run ends only when nothing is left to undo.
#[must_use]
pub fn after_settling(states: &[CompensationState], end: End) -> Event {
    if any_open(states) { Event::RetryUndo } else { Event::Settle(end) }
}

impl UndoPolicy {
    /// Whether a compensation that was begun so often may be begun once more. Otherwise it is given up: one that takes its host down
    /// with it reports no failure, and would go round all hosts for ever.
    #[must_use]
    pub fn may_begin(&self, begun: u32) -> bool {
        begun < self.attempts.saturating_add(LOST_ATTEMPTS)
    }

    /// What follows attempt number `attempt` (1 for the first) of a compensation.
    #[must_use]
    pub fn after(&self, succeeded: bool, attempt: u32) -> AfterCompensation {
        if succeeded {
            return AfterCompensation::Next;
        }
        if attempt >= self.attempts {
            return AfterCompensation::GiveUp;
        }
        let wait =
            self.backoff.0.saturating_mul(1_i64.checked_shl(attempt.saturating_sub(1).min(20)).unwrap_or(i64::MAX));
        AfterCompensation::Again { wait: Span(wait) }
    }
}
