//! What an instant that fires does while earlier runs of the job are active.

use std::fmt;
use std::str::FromStr;

use crate::error::ScheduleError;
use crate::reason::Reason;
use crate::words::word;

/// The overlap policy of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overlap {
    /// The new run is skipped.
    #[default]
    Skip,
    /// One run waits; more are skipped.
    BufferOne,
    /// Every run waits its turn, up to [`Overlap::MOST_BUFFERED`].
    BufferAll,
    /// The active runs are asked to stop, then the new one starts.
    CancelOther,
    /// The active runs are stopped at once, then the new one starts.
    TerminateOther,
    /// They run at the same time.
    Allow,
}

/// What to do with a run that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OverlapDecision {
    /// Start it.
    Start,
    /// Do not run it.
    Skip(Reason),
    /// Let it wait.
    Buffer,
    /// Cancel the active runs and start it when they have ended.
    CancelOtherThenStart,
    /// Terminate the active runs and start it when they have ended.
    TerminateOtherThenStart,
}

impl Overlap {
    /// Every policy.
    pub const ALL: [Self; 6] =
        [Self::Skip, Self::BufferOne, Self::BufferAll, Self::CancelOther, Self::TerminateOther, Self::Allow];

    /// How many runs of one schedule may wait.
    pub const MOST_BUFFERED: u64 = 10_000;

    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::BufferOne => "buffer-one",
            Self::BufferAll => "buffer-all",
            Self::CancelOther => "cancel-other",
            Self::TerminateOther => "terminate-other",
            Self::Allow => "allow",
        }
    }

    /// What to do with a run that is due while `active` runs of the job are active and `buffered` wait. Whoever waits goes
    /// first: a new run does not pass it.
    pub const fn decide(self, active: u64, buffered: u64) -> OverlapDecision {
        match self {
            Self::Allow => OverlapDecision::Start,
            Self::CancelOther if active > 0 => OverlapDecision::CancelOtherThenStart,
            Self::TerminateOther if active > 0 => OverlapDecision::TerminateOtherThenStart,
            Self::Skip if active > 0 => OverlapDecision::Skip(Reason::StillRunning),
            Self::Skip | Self::CancelOther | Self::TerminateOther => OverlapDecision::Start,
            Self::BufferOne | Self::BufferAll => {
                let most = if matches!(self, Self::BufferOne) { 1 } else { Self::MOST_BUFFERED };
                match (active, buffered) {
                    (0, 0) => OverlapDecision::Start,
                    _ if buffered < most => OverlapDecision::Buffer,
                    _ => OverlapDecision::Skip(Reason::BufferFull),
                }
            }
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Overlap {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let allowed = "skip, buffer-one, buffer-all, cancel-other, terminate-other and allow";
        word(text, "overlap policy", allowed, Self::ALL.map(|overlap| (overlap.as_str(), overlap)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete() {
        use OverlapDecision as D;
        const FULL: u64 = Overlap::MOST_BUFFERED;
        let (running, full) = (D::Skip(Reason::StillRunning), D::Skip(Reason::BufferFull));
        let (cancel, terminate) = (D::CancelOtherThenStart, D::TerminateOtherThenStart);
        // For each policy: (active, buffered) = (0,0) (0,1) (0,many) (1,0) (1,1) (1,many) (2,0) (2,1) (2,many).
        for (overlap, expected) in [
            (Overlap::Skip, [D::Start, D::Start, D::Start, running, running, running, running, running, running]),
            (Overlap::BufferOne, [D::Start, full, full, D::Buffer, full, full, D::Buffer, full, full]),
            (Overlap::BufferAll, [D::Start, D::Buffer, full, D::Buffer, D::Buffer, full, D::Buffer, D::Buffer, full]),
            (Overlap::CancelOther, [D::Start, D::Start, D::Start, cancel, cancel, cancel, cancel, cancel, cancel]),
            (
                Overlap::TerminateOther,
                [D::Start, D::Start, D::Start, terminate, terminate, terminate, terminate, terminate, terminate],
            ),
            (Overlap::Allow, [D::Start; 9]),
        ] {
            let mut expected = expected.into_iter();
            for active in 0..3 {
                for buffered in [0, 1, FULL] {
                    let decision = overlap.decide(active, buffered);
                    assert_eq!(Some(decision), expected.next(), "{overlap} with {active} active, {buffered} buffered");
                }
            }
            assert_eq!(overlap.as_str().parse::<Overlap>(), Ok(overlap));
        }
    }

    #[test]
    fn another_word_is_refused_with_the_nearest() {
        assert_eq!(
            "cancel".parse::<Overlap>().unwrap_err().to_string(),
            "\"cancel\" is no overlap policy; there are skip, buffer-one, buffer-all, cancel-other, terminate-other and \
             allow; the nearest is \"cancel-other\""
        );
    }
}
