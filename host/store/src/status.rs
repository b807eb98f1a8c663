//! The states of a run.

use std::str::FromStr;

/// The state of a run. Waiting, compensating and their like come with durable runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// Not begun.
    Queued,
    /// Under way.
    Running,
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
    /// Its process vanished: what it did is not known.
    Unknown,
}

/// A state that cannot follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run that is {} cannot become {}", .from.as_str(), .to.as_str())]
pub struct IllegalTransition {
    /// The state it is in.
    pub from: RunStatus,
    /// The state it should take.
    pub to: RunStatus,
}

impl RunStatus {
    const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Denied,
        Self::TimedOut,
        Self::Cancelled,
        Self::Unknown,
    ];

    /// The word in records and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The state after an end.
    ///
    /// # Errors
    /// When the run has ended already, or the new state is no end.
    pub fn end(self, to: Self) -> Result<Self, IllegalTransition> {
        if self == Self::Running && to.is_final() { Ok(to) } else { Err(IllegalTransition { from: self, to }) }
    }

    /// All words, for messages.
    pub fn words() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl FromStr for RunStatus {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == word)
            .ok_or_else(|| format!("`{word}` is no state of a run; the states are: {}", Self::words()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_run_ends_and_only_once() {
        assert_eq!(RunStatus::Running.end(RunStatus::Failed), Ok(RunStatus::Failed));
        assert!(RunStatus::Succeeded.end(RunStatus::Failed).is_err());
        assert!(RunStatus::Running.end(RunStatus::Queued).is_err());
        assert!(RunStatus::Queued.end(RunStatus::Succeeded).is_err());
    }

    #[test]
    fn words_round_trip() {
        for status in RunStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("finished".parse::<RunStatus>().unwrap_err().contains("timed-out"));
    }
}
