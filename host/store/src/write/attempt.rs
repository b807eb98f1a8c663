//! The end of an attempt.

use super::hold::{Locked, Said};
use crate::rows::{AfterRun, AttemptEnded, AttemptRecord};
use crate::session::{Session, args, sql};
use crate::writer::Op;
use crate::{RunState, StoreError};
use rota_protocol::{AttemptEnd, CompensationState, End, Event, Fence, Instant};

/// An attempt is over.
pub(crate) struct EndAttempt {
    pub(crate) run: String,
    pub(crate) fence: Fence,
    pub(crate) record: AttemptRecord,
}

/// The word on record for how an attempt ended.
pub(crate) fn word(end: AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Reported => "reported",
        AttemptEnd::InDoubt => "in-doubt",
        AttemptEnd::Failed(_) => "failed",
        AttemptEnd::Denied => "denied",
        AttemptEnd::TimedOut => "timed-out",
        AttemptEnd::Cancelled => "cancelled",
        AttemptEnd::Vanished => "vanished",
        AttemptEnd::HandedBack => "handed-back",
    }
}

impl Op for EndAttempt {
    type Answer = AttemptEnded;

    async fn apply(&self, session: &mut Session<'_>) -> Result<AttemptEnded, StoreError> {
        let run = match Locked::held(session, &self.run, &self.fence).await {
            Ok(run) => run,
            // A worker that did not hear the answer says it again.
            Err(lost) => return self.said_before(session).await?.ok_or(lost),
        };
        if run.state == RunState::Compensating && self.is_on_record(session).await? {
            return Ok(AttemptEnded::ToUndo);
        }
        let record = &self.record;
        // What somebody cancelled is not tried again.
        let after = match record.after {
            AfterRun::Retry { .. } if run.cancel.is_some() => AfterRun::End(End::Cancelled),
            after => after,
        };
        let open = Open::read(session, &self.run).await?;
        let (event, end) = match after {
            AfterRun::Retry { .. } => (Event::Retry, None),
            AfterRun::End(End::Succeeded) => (Event::End(End::Succeeded), None),
            AfterRun::End(end) if open.compensations => (Event::Undo, Some(end)),
            AfterRun::End(end) => (Event::End(end), None),
        };
        let state = run.after(event)?;
        conclude(session, &run, record.outcome, record.error.as_deref(), open.effects).await?;
        match (after, end) {
            (AfterRun::Retry { wait }, _) => {
                self.note(session).await?;
                run.queue(session, state, run.now.after(wait)).await?;
                Ok(AttemptEnded::Requeued)
            }
            (AfterRun::End(_), Some(end)) => {
                self.note(session).await?;
                run.undo(session, state, end).await?;
                Ok(AttemptEnded::ToUndo)
            }
            (AfterRun::End(end), None) => {
                if end == End::Succeeded && open.compensations {
                    dismiss_all(session, &self.run, run.now).await?;
                }
                let said = Said {
                    report: record.report.as_deref(),
                    error: record.error.as_deref(),
                    dropped_log_lines: record.dropped_log_lines,
                };
                run.finish(session, state, &said).await?;
                Ok(AttemptEnded::Final(state))
            }
        }
    }
}

/// What an attempt has under way, read under the run's lock.
pub(super) struct Open {
    pub(super) effects: bool,
    pub(super) compensations: bool,
}

impl Open {
    pub(super) async fn read(session: &mut Session<'_>, run: &str) -> Result<Self, StoreError> {
        // Counted up to one, since what PostgreSQL answers to `exists` is no number.
        let row = session
            .one(
                sql!(
                    "select (select count(*) from (select 1 from rota.effects e where e.run = $1 and e.outcome = 'running' limit 1) some_e) as effects,
                            (select count(*) from (select 1 from rota.compensations c where c.run = $1
                                                     and c.status in ('registered', 'running') limit 1) some_c) as compensations"
                ),
                args![run],
            )
            .await?;
        let row = row.ok_or(StoreError::Closed)?;
        Ok(Self { effects: row.truth("effects")?, compensations: row.truth("compensations")? })
    }
}

impl EndAttempt {
    /// Report, error and lost lines of a run that goes on.
    async fn note(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let AttemptRecord { report, error, dropped_log_lines, .. } = &self.record;
        if report.is_none() && error.is_none() && *dropped_log_lines == 0 {
            return Ok(());
        }
        session
            .run(
                sql!("update rota.runs set report = $2, error = $3, dropped_log_lines = dropped_log_lines + $4 where id = $1"),
                args![&self.run, report.as_deref(), error.as_deref(), *dropped_log_lines],
            )
            .await?;
        Ok(())
    }

    async fn is_on_record(&self, session: &mut Session<'_>) -> Result<bool, StoreError> {
        let row = session
            .one(
                sql!(
                    "select outcome from rota.attempts where run = $1 and incarnation = $2 and lease = $3 and finished_at is not null"
                ),
                args![&self.run, self.fence.holder.0.as_str(), self.fence.number.0],
            )
            .await?;
        row.map_or(Ok(false), |row| Ok(row.text("outcome")? == word(self.record.outcome)))
    }

    async fn said_before(&self, session: &mut Session<'_>) -> Result<Option<AttemptEnded>, StoreError> {
        if !self.is_on_record(session).await? {
            return Ok(None);
        }
        let state = Locked::any(session, &self.run).await?.state;
        Ok(Some(if state.is_final() { AttemptEnded::Final(state) } else { AttemptEnded::Requeued }))
    }
}

/// An attempt is over, and what it had under way with it.
pub(super) async fn conclude(
    session: &mut Session<'_>,
    run: &Locked,
    end: AttemptEnd,
    error: Option<&str>,
    open_effects: bool,
) -> Result<(), StoreError> {
    if open_effects {
        // What was begun and never concluded was dropped with the attempt, or its worker vanished.
        let open = if end == AttemptEnd::Vanished { "unknown" } else { "interrupted" };
        session
            .run(
                sql!("update rota.effects set outcome = $2, finished_at = $3 where run = $1 and outcome = 'running'"),
                args![&run.id, open, run.now],
            )
            .await?;
    }
    session
        .run(
            sql!(
                "update rota.attempts set finished_at = $3, outcome = $4, error = $5
                 where run = $1 and number = $2 and finished_at is null"
            ),
            args![&run.id, run.attempt, run.now, word(end), error],
        )
        .await?;
    Ok(())
}

/// A run that succeeded has nothing to undo.
async fn dismiss_all(session: &mut Session<'_>, run: &str, now: Instant) -> Result<(), StoreError> {
    session
        .run(
            sql!(
                "update rota.compensations set status = $2, finished_at = $3 where run = $1 and status in ('registered', 'running')"
            ),
            args![run, CompensationState::Dismissed.as_str(), now],
        )
        .await?;
    Ok(())
}
