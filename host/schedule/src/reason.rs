//! Why an instant fired, waits or did not fire, in words that records keep.

use std::fmt;
use std::str::FromStr;

use crate::error::ScheduleError;
use crate::words::word;

/// Why something was decided about an instant. The words of [`Reason::as_str`] are stable; the sentences of `Display` are
/// not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Fired within the tolerance.
    OnTime,
    /// Fired after the tolerance, as the misfire policy has it.
    Late,
    /// Moved to the opening of a window.
    Deferred,
    /// Missed: the misfire policy is `none`.
    MisfireNone,
    /// Missed: a later fire stands for it.
    Superseded,
    /// Missed: more were overdue than the misfire policy takes.
    BeyondLimit,
    /// Missed: longer ago than the catch-up window.
    BeyondCatchUp,
    /// Missed: outside every maintenance window.
    OutsideWindow,
    /// Missed: within a blackout.
    Blackout,
    /// Missed: no window opens after it.
    NeverOpens,
    /// Missed: the schedule was paused.
    Paused,
    /// Skipped: a run of the job is active.
    StillRunning,
    /// Waits for an active run to end.
    Buffered,
    /// Skipped: as many runs wait as the overlap policy takes.
    BufferFull,
}

const ALL: [Reason; 14] = [
    Reason::OnTime,
    Reason::Late,
    Reason::Deferred,
    Reason::MisfireNone,
    Reason::Superseded,
    Reason::BeyondLimit,
    Reason::BeyondCatchUp,
    Reason::OutsideWindow,
    Reason::Blackout,
    Reason::NeverOpens,
    Reason::Paused,
    Reason::StillRunning,
    Reason::Buffered,
    Reason::BufferFull,
];

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 14] = ALL;

    /// The word for records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnTime => "on-time",
            Self::Late => "late",
            Self::Deferred => "deferred",
            Self::MisfireNone => "misfire-none",
            Self::Superseded => "superseded",
            Self::BeyondLimit => "beyond-limit",
            Self::BeyondCatchUp => "beyond-catch-up",
            Self::OutsideWindow => "outside-window",
            Self::Blackout => "blackout",
            Self::NeverOpens => "never-opens",
            Self::Paused => "paused",
            Self::StillRunning => "still-running",
            Self::Buffered => "buffered",
            Self::BufferFull => "buffer-full",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OnTime => "on time",
            Self::Late => "late, caught up as the misfire policy has it",
            Self::Deferred => "deferred to the opening of a window",
            Self::MisfireNone => "overdue, and the misfire policy is none",
            Self::Superseded => "a later fire stands for it",
            Self::BeyondLimit => "more were overdue than are caught up",
            Self::BeyondCatchUp => "longer ago than the catch-up window",
            Self::OutsideWindow => "outside the maintenance windows",
            Self::Blackout => "within a blackout",
            Self::NeverOpens => "no window opens after it",
            Self::Paused => "the schedule is paused",
            Self::StillRunning => "a run of the job is still active",
            Self::Buffered => "waits for an active run to end",
            Self::BufferFull => "a run of the job is active and no more may wait",
        })
    }
}

impl FromStr for Reason {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        word(text, "reason", "those of the records", Self::ALL.map(|reason| (reason.as_str(), reason)))
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_again() {
        for reason in Reason::ALL {
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("\"{}\"", reason.as_str()));
            assert_eq!(serde_json::from_str::<Reason>(&json).unwrap(), reason);
        }
        assert!("laet".parse::<Reason>().unwrap_err().to_string().ends_with("the nearest is \"late\""));
    }
}
