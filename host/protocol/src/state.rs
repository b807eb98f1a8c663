//! The states of a run, and the one table of what follows what (docs/runs.md shows the same table).

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// To be claimed once it is due.
    Queued,
    /// Held back; its [`WaitReason`] says by what.
    Waiting,
    /// A worker holds it and the procedure runs.
    Running,
    /// It has failed to finish, and a worker carries out (or is to carry out) its compensations.
    Compensating,
    /// It reported.
    Succeeded,
    /// It did not do what it should.
    Failed,
    /// It lacked a grant.
    Denied,
    /// Its time was over.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled,
    /// Its worker vanished, or an effect was under way when it ended: what it did is not known.
    Unknown,
    /// An undo kept failing: what it left needs a person.
    CompensationFailed,
    /// It was never begun, and will not be.
    Skipped,
}

/// What holds a waiting run back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitReason {
    /// A named principal has to consent.
    Approval,
    /// The maintenance window is closed.
    Window,
    /// Others run that it may not run beside.
    Concurrency,
}

/// How a run can end. (`skipped` is no end: such a run never began.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It reported.
    Succeeded,
    /// It did not do what it should.
    Failed,
    /// It lacked a grant.
    Denied,
    /// Its time was over.
    TimedOut,
    /// Somebody cancelled it.
    Cancelled,
    /// What it did is not known.
    Unknown,
}

/// What happens to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Something holds it back.
    HoldBack(WaitReason),
    /// Nothing holds it back any more.
    Release,
    /// A worker takes it (or takes it over): its procedure runs.
    Claim,
    /// An attempt is over and another is to follow.
    Retry,
    /// It ends, and nothing is to be undone.
    End(End),
    /// It does not finish, and something is to be undone first.
    Undo,
    /// Everything is undone; it ends as it was to end before.
    Undone(End),
    /// An undo keeps failing.
    UndoFailed,
    /// A person asks for the failed undo to be tried again, or has settled it by hand and others are left to undo.
    RetryUndo,
    /// A person has settled by hand what the undo could not, and nothing else is left to undo; with a note.
    Settle(End),
    /// It is not to begin.
    Skip,
}

/// A state that cannot follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.said())]
pub struct IllegalTransition {
    /// The state it is in.
    pub from: RunState,
    /// What was to happen to it.
    pub event: Event,
}

impl IllegalTransition {
    fn said(&self) -> String {
        let from = self.from.as_str();
        if self.from.is_final() {
            format!("a run that is {from} has ended, and stays as it is")
        } else {
            format!("a run that is {from} cannot take `{:?}`", self.event)
        }
    }
}

impl From<End> for RunState {
    fn from(end: End) -> Self {
        match end {
            End::Succeeded => Self::Succeeded,
            End::Failed => Self::Failed,
            End::Denied => Self::Denied,
            End::TimedOut => Self::TimedOut,
            End::Cancelled => Self::Cancelled,
            End::Unknown => Self::Unknown,
        }
    }
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 12] = [
        Self::Queued,
        Self::Waiting,
        Self::Running,
        Self::Compensating,
        Self::Succeeded,
        Self::Failed,
        Self::Denied,
        Self::TimedOut,
        Self::Cancelled,
        Self::Unknown,
        Self::CompensationFailed,
        Self::Skipped,
    ];

    /// The word in records, JSON and the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::CompensationFailed => "compensation-failed",
            Self::Skipped => "skipped",
        }
    }

    /// Whether nothing follows by itself. (A failed compensation may be retried or settled by a person.)
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Waiting | Self::Running | Self::Compensating)
    }

    /// Whether a worker holds it, or has to.
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Running | Self::Compensating)
    }

    /// The state that follows.
    ///
    /// # Errors
    /// When the event cannot happen to a run in this state. In particular a run ends once, and begins to run only from the queue or by
    /// being taken over.
    pub fn after(self, event: Event) -> Result<Self, IllegalTransition> {
        use RunState as S;
        match (self, event) {
            (S::Queued | S::Waiting, Event::HoldBack(_)) => Ok(S::Waiting),
            (S::Waiting, Event::Release) => Ok(S::Queued),
            // A running one is taken over when its lease has ended.
            (S::Queued | S::Waiting | S::Running, Event::Claim) => Ok(S::Running),
            // Taken over in the middle of its undo, it goes on undoing.
            (S::Compensating, Event::Claim) => Ok(S::Compensating),
            (S::Running, Event::Retry) => Ok(S::Queued),
            (S::Running, Event::End(end)) => Ok(end.into()),
            // Before it began only a person's cancel ends it.
            (S::Queued | S::Waiting, Event::End(End::Cancelled)) => Ok(S::Cancelled),
            // A run between two attempts may have something to undo when it is cancelled.
            (S::Running | S::Queued | S::Waiting, Event::Undo) => Ok(S::Compensating),
            // What was undone has not succeeded.
            (S::Compensating, Event::Undone(end)) if end != End::Succeeded => Ok(end.into()),
            (S::Compensating, Event::UndoFailed) => Ok(S::CompensationFailed),
            // What a run left that only its vanished process could go on with is undone when a person asks for it.
            (S::CompensationFailed | S::Unknown, Event::RetryUndo) => Ok(S::Compensating),
            (S::CompensationFailed | S::Unknown, Event::Settle(end)) => Ok(end.into()),
            (S::Queued | S::Waiting, Event::Skip) => Ok(S::Skipped),
            (from, event) => Err(IllegalTransition { from, event }),
        }
    }

    /// All words, for messages.
    #[must_use]
    pub fn words() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl FromStr for RunState {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| format!("`{word}` is no state of a run; the states are: {}", Self::words()))
    }
}

impl End {
    /// The word in records and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        RunState::from(self).as_str()
    }
}

impl WaitReason {
    /// The word in records and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Window => "window",
            Self::Concurrency => "concurrency",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: [End; 6] = [End::Succeeded, End::Failed, End::Denied, End::TimedOut, End::Cancelled, End::Unknown];

    #[test]
    fn only_a_run_under_way_ends_and_only_once() {
        for end in ENDS {
            assert_eq!(RunState::Running.after(Event::End(end)), Ok(end.into()));
            for other in ENDS {
                assert!(RunState::from(end).after(Event::End(other)).is_err());
            }
            assert_eq!(RunState::Compensating.after(Event::Undone(end)).is_ok(), end != End::Succeeded);
        }
        assert!(RunState::Queued.after(Event::End(End::Succeeded)).is_err());
    }

    #[test]
    fn nothing_follows_by_itself_where_it_is_said_to_be_final() {
        for state in RunState::ALL.into_iter().filter(|state| state.is_final()) {
            for event in [Event::Claim, Event::Retry, Event::Undo, Event::Release, Event::Skip, Event::UndoFailed] {
                assert!(state.after(event).is_err(), "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn words_round_trip() {
        for state in RunState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("finished".parse::<RunState>().unwrap_err().contains("timed-out"));
    }
}
