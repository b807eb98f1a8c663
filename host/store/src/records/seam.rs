//! The seam, on top of both engines.

use super::{Kept, Records, reading, shown};
use crate::ledger::RunLedger;
use crate::read;
use crate::rows::{
    ArtifactRow, AttemptEnded, AttemptRecord, AttemptRow, BackupSummary, Beat, BeatAnswer, CancelWish, Claim, Claimed,
    CompensationRow, Decision, EffectRow, EndedRow, Filter, FireRow, Hint, HostRow, Keep, Load, LogRow, NewHost,
    NewLogLine, NewRun, NextUndo, Pause, RunRow, ScheduleChanges, ScheduleDefinition, ScheduleRow, StepRow,
    StoreStatus, TeamQuota, TeamQuotas, TeamShare, TeamUsage,
};
use crate::write::claim::BeginHeld;
use crate::write::{
    attempt, beat, compensation, control, decide, enqueue, follow, host, logs, prune, schedule, step, team,
};
use crate::{RunState, Store, StoreError, backup, masked};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rota_authority::Ledger;
use rota_protocol::{AfterCompensation, End, Fence, FireRefused, Incarnation, Instant, Span, StepBegin, WaitReason};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::broadcast;

#[async_trait]
impl<E: Kept> Store for Records<E> {
    async fn register_host(&self, host: NewHost) -> Result<Instant, StoreError> {
        self.writer.ask(host::Register { host }).await
    }

    async fn beat(&self, beat: Beat<'_>) -> Result<BeatAnswer, StoreError> {
        let op = beat::Extend {
            incarnation: beat.incarnation.clone(),
            lease: beat.lease,
            held: beat.held.to_vec(),
            progress: beat.progress.to_vec(),
        };
        self.writer.ask(op).await
    }

    async fn hosts(&self) -> Result<Vec<HostRow>, StoreError> {
        reading!(self, |session| read::schedule::hosts(session))
    }

    async fn drain_host(&self, which: &str, drain: bool) -> Result<u64, StoreError> {
        self.writer.ask(host::Drain { which: which.into(), drain }).await
    }

    async fn leave(&self, incarnation: &Incarnation) -> Result<(), StoreError> {
        self.writer.ask(host::Leave { incarnation: incarnation.clone() }).await
    }

    async fn enqueue(&self, runs: Vec<NewRun>) -> Result<(), StoreError> {
        let runs: Vec<_> = runs.into_iter().map(enqueue::masked_run).collect();
        let Some(first) = runs.first() else { return Ok(()) };
        self.writer.ask_of(&first.id.clone(), enqueue::Enqueue { runs }).await
    }

    async fn begin_held(&self, run: NewRun, claim: Claim<'_>) -> Result<Claimed, StoreError> {
        let run = enqueue::masked_run(run);
        self.writer.ask_of(&run.id.clone(), BeginHeld { run, claim: Self::claim_of(claim) }).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        self.writer.ask_for(Self::claim_of(claim)).await
    }

    async fn reap(&self) -> Result<Vec<(String, RunState)>, StoreError> {
        let gone = self.gone().await?;
        self.reap_all(gone).await
    }

    async fn end_attempt(
        &self,
        run: &str,
        fence: &Fence,
        mut record: AttemptRecord,
    ) -> Result<AttemptEnded, StoreError> {
        record.report = record.report.map(masked::json);
        record.error = record.error.map(masked::json);
        let op = attempt::EndAttempt { run: run.into(), fence: fence.clone(), record };
        self.writer.ask_of(run, op).await
    }

    async fn release(&self, run: &str, reason: WaitReason, note: &str) -> Result<(), StoreError> {
        let note = masked::text(note.to_owned());
        self.writer.ask_of(run, control::Release { run: run.into(), reason, note }).await
    }

    async fn cancel(&self, run: &str, mut wish: CancelWish) -> Result<RunState, StoreError> {
        wish.note = wish.note.map(masked::text);
        self.writer.ask_of(run, control::Cancel { run: run.into(), wish }).await
    }

    async fn settle(&self, run: &str, end: End, by: &str, note: &str) -> Result<(), StoreError> {
        let note = masked::text(format!("{by}: {note}"));
        self.writer.ask_of(run, control::Settle { run: run.into(), end, note }).await
    }

    async fn retry_undo(&self, run: &str, by: &str) -> Result<(), StoreError> {
        let note = masked::text(format!("tried again by {by}"));
        self.writer.ask_of(run, control::RetryUndo { run: run.into(), note }).await
    }

    fn ledger(&self, run: &str, fence: &Fence) -> Arc<dyn Ledger> {
        Arc::new(RunLedger { run: run.into(), fence: fence.clone(), writer: self.writer.clone(), team: None })
    }

    async fn begin_team_run(
        &self,
        run: &str,
        team: &str,
        cpu: Span,
        most: &TeamQuotas,
    ) -> Result<Result<TeamShare, TeamQuota>, StoreError> {
        self.writer.ask_of(run, team::BeginTeamRun { run: run.into(), team: team.into(), cpu, most: *most }).await
    }

    async fn take_team_share(
        &self,
        team: &str,
        cpu: Span,
        bytes_out: u64,
        most: &TeamQuotas,
    ) -> Result<TeamShare, StoreError> {
        self.writer.ask(team::TakeShare { team: team.into(), cpu, bytes_out, most: *most }).await
    }

    async fn give_back_team_share(&self, team: &str, share: TeamShare) -> Result<(), StoreError> {
        self.writer.ask(team::GiveBack { team: team.into(), share }).await
    }

    async fn team_usage(&self, teams: &[String]) -> Result<Vec<TeamUsage>, StoreError> {
        reading!(self, |session| read::team::usage(session, teams))
    }

    fn team_ledger(&self, run: &str, fence: &Fence, team: &str, effects: Option<u64>) -> Arc<dyn Ledger> {
        let (run, fence, writer) = (run.into(), fence.clone(), self.writer.clone());
        Arc::new(RunLedger { run, fence, writer, team: Some((team.into(), effects)) })
    }

    async fn begin_step(
        &self,
        run: &str,
        fence: &Fence,
        name: &str,
    ) -> Result<(StepBegin, Vec<EffectRow>), StoreError> {
        let op = step::BeginStep { run: run.into(), fence: fence.clone(), name: masked::text(name.into()) };
        self.writer.ask_of(run, op).await
    }

    async fn complete_step(&self, run: &str, fence: &Fence, name: &str, result: &str) -> Result<(), StoreError> {
        let op = step::CompleteStep {
            run: run.into(),
            fence: fence.clone(),
            name: masked::text(name.into()),
            result: masked::json(result.into()),
        };
        self.writer.ask_of(run, op).await
    }

    async fn register_compensation(
        &self,
        run: &str,
        fence: &Fence,
        name: &str,
        state: &str,
        digest: &str,
    ) -> Result<u32, StoreError> {
        let op = compensation::Register {
            run: run.into(),
            fence: fence.clone(),
            name: masked::text(name.into()),
            state: masked::json(state.into()),
            digest: digest.into(),
        };
        self.writer.ask_of(run, op).await
    }

    async fn dismiss_compensation(&self, run: &str, fence: &Fence, sequence: u32) -> Result<(), StoreError> {
        self.writer.ask_of(run, compensation::Dismiss { run: run.into(), fence: fence.clone(), sequence }).await
    }

    async fn next_compensation(&self, run: &str, fence: &Fence) -> Result<NextUndo, StoreError> {
        self.writer.ask_of(run, compensation::NextCompensation { run: run.into(), fence: fence.clone() }).await
    }

    async fn end_compensation(
        &self,
        run: &str,
        fence: &Fence,
        sequence: u32,
        error: Option<&str>,
    ) -> Result<AfterCompensation, StoreError> {
        let error = error.map(|error| masked::text(error.into()));
        let op = compensation::EndCompensation { run: run.into(), fence: fence.clone(), sequence, error };
        self.writer.ask_of(run, op).await
    }

    async fn end_undo(&self, run: &str, fence: &Fence) -> Result<RunState, StoreError> {
        self.writer.ask_of(run, compensation::EndUndo { run: run.into(), fence: fence.clone() }).await
    }

    async fn pause_undo(&self, run: &str, fence: &Fence, wait: Span) -> Result<(), StoreError> {
        self.writer.ask_of(run, compensation::PauseUndo { run: run.into(), fence: fence.clone(), wait }).await
    }

    async fn keep_component(&self, digest: &str, component: &[u8]) -> Result<(), StoreError> {
        let op = compensation::KeepComponent { digest: digest.into(), content: component.to_vec() };
        self.writer.ask(op).await
    }

    async fn component(&self, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
        reading!(self, |session| read::record::component(session, digest))
    }

    async fn apply_schedules(&self, mut all: Vec<ScheduleDefinition>, by: &str) -> Result<ScheduleChanges, StoreError> {
        all.sort_by(|a, b| a.job.cmp(&b.job));
        if let Some([twice, _]) = all.array_windows().find(|[a, b]| a.job == b.job) {
            return Err(StoreError::Misfit(format!("the job `{}` has two schedules", twice.job)));
        }
        tracing::debug!(by, schedules = all.len(), "schedules are applied");
        self.writer.ask(schedule::Apply { all }).await
    }

    async fn due_schedules(&self, within: Span, most: u32) -> Result<(Instant, Vec<ScheduleRow>), StoreError> {
        reading!(self, |session| read::schedule::due(session, within, most))
    }

    async fn decide(&self, decisions: Vec<Decision>, by: &str) -> Result<Vec<Result<(), FireRefused>>, StoreError> {
        if decisions.is_empty() {
            return Ok(Vec::new());
        }
        let decisions = decisions.into_iter().map(decide::masked_decision).collect();
        self.writer.ask(decide::Decide { decisions, by: by.into() }).await
    }

    async fn cancelled(&self, runs: &[String]) -> Result<Vec<(String, CancelWish)>, StoreError> {
        let list = crate::write::hold::list(runs.iter().map(String::as_str));
        reading!(self, |session| crate::write::beat::cancelled(session, &list))
    }

    async fn schedule_load(&self, job: &str) -> Result<Load, StoreError> {
        reading!(self, |session| read::run::load(session, job))
    }

    async fn pause(&self, job: &str, mut pause: Option<Pause>) -> Result<(), StoreError> {
        if let Some(pause) = &mut pause {
            pause.note = masked::text(std::mem::take(&mut pause.note));
        }
        self.writer.ask(schedule::SetPause { job: job.into(), pause }).await
    }

    async fn schedules(&self) -> Result<Vec<ScheduleRow>, StoreError> {
        reading!(self, |session| read::schedule::schedules(session))
    }

    async fn astray_schedules(&self, most: u32) -> Result<Vec<ScheduleRow>, StoreError> {
        reading!(self, |session| read::schedule::astray(session, most))
    }

    async fn schedule(&self, job: &str) -> Result<ScheduleRow, StoreError> {
        reading!(self, |session| read::schedule::schedule(session, job))
    }

    async fn reschedule(
        &self,
        job: &str,
        read: i64,
        next: Option<DateTime<Utc>>,
        fire_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        self.writer.ask(schedule::Reschedule { job: job.into(), read, next, fire_at }).await
    }

    async fn fires(&self, job: &str, before: Option<DateTime<Utc>>, limit: u32) -> Result<Vec<FireRow>, StoreError> {
        reading!(self, |session| read::schedule::fires(session, job, before, limit))
    }

    async fn ended(&self, most: u32) -> Result<Vec<EndedRow>, StoreError> {
        reading!(self, |session| read::schedule::ended(session, most))
    }

    async fn follow(&self, run: &str, runs: Vec<NewRun>) -> Result<bool, StoreError> {
        let runs: Vec<_> = runs.into_iter().map(enqueue::masked_run).collect();
        self.writer.ask_of(run, follow::Follow { run: run.into(), runs }).await
    }

    async fn count_failure(&self, job: &str, failed: bool) -> Result<u32, StoreError> {
        self.writer.ask(schedule::CountFailure { job: job.into(), failed }).await
    }

    fn log(&self, run: &str, mut line: NewLogLine) -> bool {
        line.message = masked::text(line.message);
        line.fields = line.fields.into_iter().map(|(key, value)| (masked::text(key), masked::text(value))).collect();
        self.writer.log(run, line)
    }

    async fn add_artifact(&self, run: &str, artifact: ArtifactRow) -> Result<(), StoreError> {
        self.writer.ask_of(run, logs::Artifact { run: run.into(), artifact }).await
    }

    async fn runs(&self, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
        let gone = self.sweep_before_reading().await?;
        let rows = reading!(self, |session| read::run::runs(session, filter))?;
        Ok(rows.into_iter().map(|row| shown(row, &gone)).collect())
    }

    async fn run(&self, id: &str) -> Result<RunRow, StoreError> {
        let gone = self.sweep_before_reading().await?;
        let id = self.resolve(id).await?;
        let found = reading!(self, |session| read::run::run(session, &id))?;
        found.map(|row| shown(row, &gone)).ok_or(StoreError::NotFound(id))
    }

    async fn effects(&self, run: &str) -> Result<Vec<EffectRow>, StoreError> {
        let gone = self.sweep_before_reading().await?;
        let mut effects = reading!(self, |session| read::record::effects(session, run))?;
        if !gone.is_empty() && self.run(run).await.is_ok_and(|row| row.state == RunState::Unknown) {
            effects
                .iter_mut()
                .filter(|effect| effect.outcome == "running")
                .for_each(|effect| effect.outcome = "unknown".into());
        }
        Ok(effects)
    }

    async fn logs(&self, run: &str, after: u64, limit: u32) -> Result<Vec<LogRow>, StoreError> {
        self.writer.flush().await?;
        reading!(self, |session| read::record::logs(session, run, after, limit))
    }

    async fn artifacts(&self, run: &str) -> Result<Vec<ArtifactRow>, StoreError> {
        reading!(self, |session| read::record::artifacts(session, run))
    }

    async fn attempts(&self, run: &str) -> Result<Vec<AttemptRow>, StoreError> {
        reading!(self, |session| read::run::attempts(session, run))
    }

    async fn steps(&self, run: &str) -> Result<Vec<StepRow>, StoreError> {
        reading!(self, |session| read::record::steps(session, run))
    }

    async fn compensations(&self, run: &str) -> Result<Vec<CompensationRow>, StoreError> {
        reading!(self, |session| read::record::compensations(session, run))
    }

    async fn durations(&self, job: &str, last: u32) -> Result<Vec<Span>, StoreError> {
        reading!(self, |session| read::run::durations(session, job, last))
    }

    async fn prune(&self, keep: &Keep, batch: u32) -> Result<u64, StoreError> {
        self.writer.ask(prune::Prune { keep: *keep, batch }).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.writer.flush().await
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        reading!(self, |session| read::status::status(session, &self.shared))
    }

    async fn now(&self) -> Result<Instant, StoreError> {
        reading!(self, |session| session.now())
    }

    async fn backup(&self, to: &Path) -> Result<BackupSummary, StoreError> {
        self.writer.flush().await?;
        let mut reader = self.readers.reader(&self.shared).await?;
        backup::write(&mut reader.session(&self.shared), to).await
    }

    async fn close(&self) {
        self.writer.close().await;
        self.engine.close();
        self.readers.close().await;
    }
}
