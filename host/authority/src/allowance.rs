//! What a run may still use of what it shares with other runs, on this host and on others.

use async_trait::async_trait;
use std::time::Duration;

/// What a team may use of something in a day is used up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the team `{team}` has used up its quota of {limit} {what} a day (teams.{team}.quotas.{setting}); the next day begins at 00:00 UTC, and `rota teams show {team}` shows what was used"
)]
pub struct UsedUp {
    /// The team.
    pub team: String,
    /// The setting.
    pub setting: &'static str,
    /// The quota, with its unit.
    pub limit: String,
    /// Of what.
    pub what: &'static str,
}

/// Why nothing more is had of what is shared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowanceError {
    /// It is used up.
    #[error(transparent)]
    UsedUp(#[from] UsedUp),
    /// Whoever keeps count is away: the same may succeed later.
    #[error("what the run's team has used cannot be counted now, so nothing is sent: {0}")]
    Away(String),
}

/// What a run shares with the other runs of its team.
#[async_trait]
pub trait Allowance: Send + Sync + 'static {
    /// So many bytes are about to leave for a target: they are counted, or refused as a whole.
    async fn send(&self, bytes: u64) -> Result<(), AllowanceError>;

    /// Whether the CPU time that the run has used by now is covered by what was set aside for it.
    fn covers(&self, used: Duration) -> bool;

    /// Set more CPU time aside, beyond what the run has used by now.
    async fn cover(&self, used: Duration) -> Result<(), UsedUp>;
}
