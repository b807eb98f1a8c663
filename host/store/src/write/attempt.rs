//! The end of attempts. Those that end together are written together, since this happens to every run.

use super::hold::{Locked, Said, end_attempts, finish_all};
use super::once;
use crate::rows::{AfterRun, AttemptEnded, AttemptRecord};
use crate::session::{Engine, Session, args, sql};
use crate::writer::Op;
use crate::{RunState, StoreError};
use rota_protocol::{AttemptEnd, CompensationState, End, Event, Fence};
use serde_json::{Value, json};

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
    const ORDER: u8 = 2;

    async fn apply(&self, session: &mut Session<'_>) -> Result<AttemptEnded, StoreError> {
        end_each(&[self], session).await?.pop().unwrap_or(Err(StoreError::Closed))
    }

    async fn apply_all(ops: &[&Self], session: &mut Session<'_>) -> Vec<Result<AttemptEnded, StoreError>> {
        match end_each(ops, session).await {
            Ok(answers) => answers,
            Err(error) => ops.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

/// What becomes of a run.
enum Fate {
    Over(RunState),
    Again(RunState, rota_protocol::Span),
    Undo(RunState, End),
}

/// On a server, most of them by one statement. It is a transaction of its own where it comes first: should the others fail and all be done
/// again, or its answer be lost, those that are over are found on record as ended.
async fn end_each(
    ops: &[&EndAttempt],
    session: &mut Session<'_>,
) -> Result<Vec<Result<AttemptEnded, StoreError>>, StoreError> {
    if session.engine() == Engine::Sqlite {
        return end_all(ops, session).await;
    }
    let over = once::end(session, ops).await?;
    let others: Vec<&EndAttempt> = ops.iter().copied().filter(|op| !over.contains_key(&op.run)).collect();
    let mut rest = if others.is_empty() { Vec::new() } else { end_all(&others, session).await? }.into_iter();
    Ok(ops
        .iter()
        .map(|op| match over.get(&op.run) {
            Some(state) => Ok(AttemptEnded::Final(*state)),
            None => rest.next().unwrap_or(Err(StoreError::Closed)),
        })
        .collect())
}

async fn end_all(
    ops: &[&EndAttempt],
    session: &mut Session<'_>,
) -> Result<Vec<Result<AttemptEnded, StoreError>>, StoreError> {
    let fences: Vec<_> = ops.iter().map(|op| (op.run.as_str(), &op.fence)).collect();
    let held = Locked::held_many(session, &fences).await?;
    let mut answers = Vec::with_capacity(ops.len());
    let mut over = Vec::new();
    let mut fates = Vec::new();
    for (op, run) in ops.iter().zip(&held) {
        match run {
            // A worker that did not hear the answer says it again.
            Err(lost) => answers.push(op.said_before(session).await?.ok_or_else(|| lost.clone())),
            Ok(run) if run.state == RunState::Compensating && op.is_on_record(session).await? => {
                answers.push(Ok(AttemptEnded::ToUndo));
            }
            Ok(run) => match op.fate(run) {
                Err(error) => answers.push(Err(error)),
                Ok(fate) => {
                    answers.push(Ok(match fate {
                        Fate::Over(state) => AttemptEnded::Final(state),
                        Fate::Again(..) => AttemptEnded::Requeued,
                        Fate::Undo(..) => AttemptEnded::ToUndo,
                    }));
                    over.push((run, op.record.outcome, op.record.error.as_deref()));
                    fates.push((*op, run, fate));
                }
            },
        }
    }
    let mut attempts = Vec::new();
    if fates.iter().all(|(.., fate)| matches!(fate, Fate::Over(_))) {
        // Nothing comes between them and the ends of their runs: both are written together.
        interrupt(session, &over).await?;
        attempts = ends(&over);
    } else {
        conclude(session, &over).await?;
    }
    let mut finished = Vec::new();
    for (op, run, fate) in &fates {
        match *fate {
            Fate::Over(state) => finished.push((*run, state, op.said())),
            Fate::Again(state, wait) => {
                op.note(session).await?;
                run.queue(session, state, run.now.after(wait)).await?;
            }
            Fate::Undo(state, end) => {
                op.note(session).await?;
                run.undo(session, state, end).await?;
            }
        }
    }
    dismiss(session, &finished).await?;
    finish_all(session, &finished, &attempts).await?;
    Ok(answers)
}

impl EndAttempt {
    fn fate(&self, run: &Locked) -> Result<Fate, StoreError> {
        let end = match self.record.after {
            AfterRun::Retry { wait } if run.cancel.is_none() => {
                return Ok(Fate::Again(run.after(Event::Retry)?, wait));
            }
            // What somebody cancelled is not tried again.
            AfterRun::Retry { .. } => End::Cancelled,
            AfterRun::End(end) => end,
        };
        // A procedure that reported has done what it was to do: where its job calls a bad report a failure, nothing is taken back.
        if end != End::Succeeded && self.record.outcome != AttemptEnd::Reported && run.open.undo {
            return Ok(Fate::Undo(run.after(Event::Undo)?, end));
        }
        run.after(Event::End(end)).map(Fate::Over)
    }

    fn said(&self) -> Said<'_> {
        Said {
            report: self.record.report.as_deref(),
            error: self.record.error.as_deref(),
            dropped_log_lines: self.record.dropped_log_lines,
        }
    }

    /// Report, error and lost lines of a run that goes on.
    async fn note(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let Said { report, error, dropped_log_lines } = self.said();
        session
            .run(
                sql!(
                    "update rota.runs set report = $2, error = $3, dropped_log_lines = dropped_log_lines + $4 where id = $1"
                ),
                args![&self.run, report, error, dropped_log_lines],
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

/// Attempts are over, and what they had under way with them.
pub(super) async fn conclude(
    session: &mut Session<'_>,
    over: &[(&Locked, AttemptEnd, Option<&str>)],
) -> Result<(), StoreError> {
    if over.is_empty() {
        return Ok(());
    }
    interrupt(session, over).await?;
    session.run(end_attempts!("$1"), args![&json!(ends(over)).to_string()]).await?;
    Ok(())
}

/// What attempts had under way is over with them.
async fn interrupt(session: &mut Session<'_>, over: &[(&Locked, AttemptEnd, Option<&str>)]) -> Result<(), StoreError> {
    for (run, end, _) in over.iter().filter(|(run, ..)| run.open.effects) {
        // What was begun and never concluded was dropped with the attempt, or its worker vanished.
        let word = if *end == AttemptEnd::Vanished { "unknown" } else { "interrupted" };
        session
            .run(
                sql!("update rota.effects set outcome = $2, finished_at = $3 where run = $1 and outcome = 'running'"),
                args![&run.id, word, run.now],
            )
            .await?;
    }
    Ok(())
}

/// What is written of attempts that are over.
fn ends(over: &[(&Locked, AttemptEnd, Option<&str>)]) -> Vec<Value> {
    over.iter()
        .map(|(run, end, error)| {
            json!({ "run": run.id, "number": run.attempt, "at": run.now.0, "outcome": word(*end), "error": error })
        })
        .collect()
}

/// Runs that succeeded have nothing to undo.
async fn dismiss(session: &mut Session<'_>, finished: &[(&Locked, RunState, Said<'_>)]) -> Result<(), StoreError> {
    for (run, ..) in finished.iter().filter(|(run, ..)| run.open.undo) {
        session
            .run(
                sql!(
                    "update rota.compensations set status = $2, finished_at = $3
                     where run = $1 and status in ('registered', 'running')"
                ),
                args![&run.id, CompensationState::Dismissed.as_str(), run.now],
            )
            .await?;
    }
    Ok(())
}
