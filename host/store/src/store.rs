//! The seam: what a host remembers.

use crate::rows::{
    ArtifactRow, AttemptEnded, AttemptRecord, AttemptRow, BackupSummary, Beat, BeatAnswer, CancelWish, Claim, Claimed,
    CompensationRow, Decision, EffectRow, EndedRow, Filter, FireRow, Hint, HostRow, Keep, Load, LogRow, NewHost,
    NewLogLine, NewRun, NextUndo, Pause, RunRow, ScheduleChanges, ScheduleDefinition, ScheduleRow, StepRow,
    StoreStatus, TeamQuota, TeamQuotas, TeamShare, TeamUsage,
};
use crate::{RunState, StoreError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rota_authority::Ledger;
use rota_protocol::{AfterCompensation, End, Fence, FireRefused, Incarnation, Instant, Span, StepBegin, WaitReason};
use std::path::Path;
use std::sync::Arc;

/// What a host remembers: runs and everything of them, schedules, and the hosts that work.
///
/// What a call has written is durable when it returns, except for log lines. "Now" is the database's. Each write of a worker
/// carries a [`Fence`] and proves the lease in the transaction that writes; one that does not is refused with
/// [`StoreError::LeaseLost`] and counted.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // Hosts.

    /// A process begins to work; answers the database's time.
    async fn register_host(&self, host: NewHost) -> Result<Instant, StoreError>;
    /// Which of these runs are under way and wanted cancelled: between two signs of life, where no hint came.
    async fn cancelled(&self, runs: &[String]) -> Result<Vec<(String, CancelWish)>, StoreError>;
    /// A sign of life: the leases that are held last longer. One that has ended is not revived; it is answered as lost.
    async fn beat(&self, beat: Beat<'_>) -> Result<BeatAnswer, StoreError>;
    /// The hosts that have not left, the newest last.
    async fn hosts(&self) -> Result<Vec<HostRow>, StoreError>;
    /// Hosts of a name, or the one of an incarnation, are to take nothing more (or again); answers how many.
    async fn drain_host(&self, name_or_incarnation: &str, drain: bool) -> Result<u64, StoreError>;
    /// A process ends in order. Leases that it holds still end by themselves, at once by [`Store::reap`].
    async fn leave(&self, incarnation: &Incarnation) -> Result<(), StoreError>;

    // The queue.

    /// Runs to be done, all of them or none.
    async fn enqueue(&self, runs: Vec<NewRun>) -> Result<(), StoreError>;
    /// A run that this process does at once. [`StoreError::Conflict`] when one of its keys is taken.
    async fn begin_held(&self, run: NewRun, claim: Claim<'_>) -> Result<Claimed, StoreError>;
    /// Runs that are due, by priority, then fair between jobs (those with the fewest held first), then by age; also those that are to be
    /// undone and that nobody holds. Those that a key holds back become waiting for concurrency, once, and stay candidates.
    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed>, StoreError>;
    /// Leases that are over: their attempt ends as vanished, and the run is queued, undone or unknown by its policy. Answers what
    /// became of each.
    async fn reap(&self) -> Result<Vec<(String, RunState)>, StoreError>;
    /// An attempt is over. Said twice (because the first answer got lost), it answers the same.
    async fn end_attempt(&self, run: &str, fence: &Fence, record: AttemptRecord) -> Result<AttemptEnded, StoreError>;
    /// What held a run back does not any more; the note says by whose word.
    async fn release(&self, run: &str, reason: WaitReason, note: &str) -> Result<(), StoreError>;
    /// Somebody wants a run cancelled. One that nobody holds ends at once (or is to be undone); otherwise the wish is noted and hinted.
    async fn cancel(&self, run: &str, wish: CancelWish) -> Result<RunState, StoreError>;
    /// A person has settled by hand what the run left.
    async fn settle(&self, run: &str, end: End, by: &str, note: &str) -> Result<(), StoreError>;
    /// The failed undo is to be tried again.
    async fn retry_undo(&self, run: &str, by: &str) -> Result<(), StoreError>;

    /// Runs that are over and whose end is waited for (see [`crate::RunPolicy::followed`]), the first to end first.
    async fn ended(&self, most: u32) -> Result<Vec<EndedRow>, StoreError>;
    /// What follows the end of a run is made, with it being seen to, in one transaction; false when somebody else was first.
    async fn follow(&self, run: &str, runs: Vec<NewRun>) -> Result<bool, StoreError>;

    // Effects, steps and compensations, under a lease.

    /// Where a run's effects are written down.
    fn ledger(&self, run: &str, fence: &Fence) -> Arc<dyn Ledger>;
    /// A durable step begins (again); where it is in doubt, with the effects that were recorded since it first began.
    async fn begin_step(&self, run: &str, fence: &Fence, name: &str)
    -> Result<(StepBegin, Vec<EffectRow>), StoreError>;
    /// A durable step is done, with this result (JSON).
    async fn complete_step(&self, run: &str, fence: &Fence, name: &str, result: &str) -> Result<(), StoreError>;
    /// What undoes what is about to be done; answers its number. By name: registered again it is the same one, with a new state if
    /// it is open, and open again if it was dismissed.
    async fn register_compensation(
        &self,
        run: &str,
        fence: &Fence,
        name: &str,
        state: &str,
        digest: &str,
    ) -> Result<u32, StoreError>;
    /// A compensation is not wanted any more.
    async fn dismiss_compensation(&self, run: &str, fence: &Fence, sequence: u32) -> Result<(), StoreError>;
    /// The next compensation of a run that is compensating; it is on record as running then.
    async fn next_compensation(&self, run: &str, fence: &Fence) -> Result<NextUndo, StoreError>;
    /// A compensation was carried out, or failed. After [`AfterCompensation::GiveUp`] the run is `compensation-failed` and nobody holds it.
    async fn end_compensation(
        &self,
        run: &str,
        fence: &Fence,
        sequence: u32,
        error: Option<&str>,
    ) -> Result<AfterCompensation, StoreError>;
    /// Everything is undone: the run ends as it was to end.
    async fn end_undo(&self, run: &str, fence: &Fence) -> Result<RunState, StoreError>;
    /// The undo goes on later, by whoever claims the run after the wait (a drain, a long wait before the next try).
    async fn pause_undo(&self, run: &str, fence: &Fence, wait: Span) -> Result<(), StoreError>;
    /// Keep a component as long as a run with open compensations needs it.
    async fn keep_component(&self, digest: &str, component: &[u8]) -> Result<(), StoreError>;
    /// A component that was kept.
    async fn component(&self, digest: &str) -> Result<Option<Vec<u8>>, StoreError>;

    // Teams: what all runs of one may use in a day (of UTC, by the database's time), on all hosts together.

    /// A run of a team begins: it is counted once, whatever attempt it is, and gets as much of the wanted CPU time as is left; or says of what
    /// nothing is left.
    async fn begin_team_run(
        &self,
        run: &str,
        team: &str,
        cpu: Span,
        most: &TeamQuotas,
    ) -> Result<Result<TeamShare, TeamQuota>, StoreError>;
    /// More is set aside for a run of a team: as much as is left of what it wants.
    async fn take_team_share(
        &self,
        team: &str,
        cpu: Span,
        bytes_out: u64,
        most: &TeamQuotas,
    ) -> Result<TeamShare, StoreError>;
    /// So much of what was set aside was not used; negative CPU time is what was used beyond it.
    async fn give_back_team_share(&self, team: &str, share: TeamShare) -> Result<(), StoreError>;
    /// What each of these teams has used today.
    async fn team_usage(&self, teams: &[String]) -> Result<Vec<TeamUsage>, StoreError>;
    /// As [`Store::ledger`], for a run of a team: effects that happen are counted, and refused beyond so many a day.
    fn team_ledger(&self, run: &str, fence: &Fence, team: &str, effects: Option<u64>) -> Arc<dyn Ledger>;

    // Schedules.

    /// The schedules of a configuration: all there are, or none on error.
    async fn apply_schedules(&self, all: Vec<ScheduleDefinition>, by: &str) -> Result<ScheduleChanges, StoreError>;
    /// Schedules to be decided about within a time, paused ones too (their instants are skipped, which is recorded), the earliest first, with the database's time.
    async fn due_schedules(&self, within: Span, most: u32) -> Result<(Instant, Vec<ScheduleRow>), StoreError>;
    /// Decisions, each written only if nobody decided first, with its run in the same transaction.
    async fn decide(&self, decisions: Vec<Decision>, by: &str) -> Result<Vec<Result<(), FireRefused>>, StoreError>;
    /// What a job has under way.
    async fn schedule_load(&self, job: &str) -> Result<Load, StoreError>;
    /// Pause a schedule, or let it go on.
    async fn pause(&self, job: &str, pause: Option<Pause>) -> Result<(), StoreError>;
    /// All schedules, by name.
    async fn schedules(&self) -> Result<Vec<ScheduleRow>, StoreError>;
    /// Enabled schedules that no decision will reach: without a next instant (they may be over), or with one that was decided about; at most so many.
    async fn astray_schedules(&self, most: u32) -> Result<Vec<ScheduleRow>, StoreError>;
    /// One.
    async fn schedule(&self, job: &str) -> Result<ScheduleRow, StoreError>;
    /// Set the next instant of a schedule without a decision, if its cursor is still at the version read. [`StoreError::Stale`] otherwise.
    async fn reschedule(
        &self,
        job: &str,
        read: i64,
        next: Option<DateTime<Utc>>,
        fire_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError>;
    /// Decisions about a schedule's instants before one, the latest first.
    async fn fires(&self, job: &str, before: Option<DateTime<Utc>>, limit: u32) -> Result<Vec<FireRow>, StoreError>;
    /// A run of the schedule failed, or did not; answers how many failed in a row.
    async fn count_failure(&self, job: &str, failed: bool) -> Result<u32, StoreError>;

    // Logs, artifacts, reading.

    /// A line of a run's log. Never waits: false when it had to be dropped.
    fn log(&self, run: &str, line: NewLogLine) -> bool;
    /// A run keeps a file.
    async fn add_artifact(&self, run: &str, artifact: ArtifactRow) -> Result<(), StoreError>;
    /// Runs, the newest first.
    async fn runs(&self, filter: &Filter) -> Result<Vec<RunRow>, StoreError>;
    /// One run: by id, by an unambiguous part of it (four characters or more), or the `last`.
    async fn run(&self, id: &str) -> Result<RunRow, StoreError>;
    /// A run's effects, in order.
    async fn effects(&self, run: &str) -> Result<Vec<EffectRow>, StoreError>;
    /// A run's log lines after a number, at most so many.
    async fn logs(&self, run: &str, after: u64, limit: u32) -> Result<Vec<LogRow>, StoreError>;
    /// What a run keeps.
    async fn artifacts(&self, run: &str) -> Result<Vec<ArtifactRow>, StoreError>;
    /// A run's attempts, in order.
    async fn attempts(&self, run: &str) -> Result<Vec<AttemptRow>, StoreError>;
    /// A run's steps, in the order in which they began.
    async fn steps(&self, run: &str) -> Result<Vec<StepRow>, StoreError>;
    /// A run's compensations, in the order in which they were registered.
    async fn compensations(&self, run: &str) -> Result<Vec<CompensationRow>, StoreError>;
    /// How long the last succeeded runs of a job took, the newest first.
    async fn durations(&self, job: &str, last: u32) -> Result<Vec<Span>, StoreError>;
    /// Forget runs that are over and not to be kept, at most so many; answers how many. Decisions about instants that are as old, components
    /// that nobody needs and hosts that are long gone go with them.
    async fn prune(&self, keep: &Keep, batch: u32) -> Result<u64, StoreError>;

    // The store itself.

    /// Everything that was handed over is durable.
    async fn flush(&self) -> Result<(), StoreError>;
    /// Hints of changes, by this and by other hosts.
    fn hints(&self) -> tokio::sync::broadcast::Receiver<Hint>;
    /// How it is.
    async fn status(&self) -> Result<StoreStatus, StoreError>;
    /// The database's time.
    async fn now(&self) -> Result<Instant, StoreError>;
    /// Write everything to one file, which either engine restores.
    async fn backup(&self, to: &Path) -> Result<BackupSummary, StoreError>;
    /// Write what waits, and take nothing more.
    async fn close(&self);
}
