//! What becomes of instants that were not decided in time, because no host was awake or its clock was stepped.

use std::fmt;

use crate::error::ScheduleError;
use crate::words::word;

/// The misfire policy of a schedule, about instants that are overdue by more than the tolerance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Misfire {
    /// The latest fires for all of them; none does if another instant is on time.
    #[default]
    Once,
    /// Each fires, in order; if there are more than `limit`, the latest do.
    All {
        /// How many fire at most; more than [`Misfire::GREATEST_LIMIT`] counts as that.
        limit: u32,
    },
    /// None fires.
    None,
}

impl Misfire {
    /// The most that `all` catches up unless a limit is given.
    pub const USUAL_LIMIT: u32 = 100;

    /// The most that `all` catches up whatever its limit, so that memory stays bounded.
    pub const GREATEST_LIMIT: u32 = 100_000;

    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::All { .. } => "all",
            Self::None => "none",
        }
    }

    /// The policy of a word; `all` with a limit or the usual one.
    ///
    /// # Errors
    ///
    /// If the word is none.
    pub fn from_word(text: &str, limit: Option<u32>) -> Result<Self, ScheduleError> {
        let all = Self::All { limit: limit.unwrap_or(Self::USUAL_LIMIT) };
        word(text, "misfire policy", "once, all and none", [("once", Self::Once), ("all", all), ("none", Self::None)])
    }

    /// How many overdue instants fire at most.
    pub(crate) const fn limit(self) -> usize {
        match self {
            Self::Once => 1,
            Self::All { limit } if limit < Self::GREATEST_LIMIT => limit as usize,
            Self::All { .. } => Self::GREATEST_LIMIT as usize,
            Self::None => 0,
        }
    }
}

impl fmt::Display for Misfire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
