//! Compensations: registered before what they undo, carried out last in, first out.

use super::hold::{Locked, Said, compensation_state, compensation_states};
use crate::read::record::{compensation_columns, compensation_row};
use crate::rows::{Hint, NextUndo};
use crate::session::{Session, args, sql};
use crate::writer::Op;
use crate::{RunState, StoreError};
use rota_protocol::compensation::next;
use rota_protocol::{AfterCompensation, CompensationState, End, Event, Fence, Span};

/// What undoes what is about to be done.
pub(crate) struct Register {
    pub(crate) run: String,
    pub(crate) fence: Fence,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) digest: String,
}

impl Op for Register {
    type Answer = u32;

    async fn apply(&self, session: &mut Session<'_>) -> Result<u32, StoreError> {
        let run = Locked::held(session, &self.run, &self.fence).await?;
        if run.state != RunState::Running {
            return Err(StoreError::Misfit(format!(
                "the run `{}` is being undone, and registers nothing more",
                self.run
            )));
        }
        let known = session
            .one(
                sql!("select sequence, status from rota.compensations where run = $1 and name = $2"),
                args![&self.run, &self.name],
            )
            .await?;
        if let Some(row) = known {
            let sequence = row.small("sequence")?;
            // A new attempt may do anew what an earlier one had dismissed, so it is to be undone again.
            if matches!(compensation_state(&row)?, CompensationState::Registered | CompensationState::Dismissed) {
                session
                    .run(
                        sql!(
                            "update rota.compensations set state = $3, digest = $4, status = $5, finished_at = null
                             where run = $1 and sequence = $2"
                        ),
                        args![&self.run, sequence, &self.state, &self.digest, CompensationState::Registered.as_str()],
                    )
                    .await?;
            }
            return Ok(sequence);
        }
        let row = session
            .one(
                sql!(
                    "insert into rota.compensations (run, sequence, name, state, status, digest, registered_at)
                     values ($1, (select coalesce(max(c.sequence), 0) + 1 from rota.compensations c where c.run = $1), $2, $3, $4, $5, $6)
                     returning sequence"
                ),
                args![
                    &self.run,
                    &self.name,
                    &self.state,
                    CompensationState::Registered.as_str(),
                    &self.digest,
                    run.now
                ],
            )
            .await?;
        row.map_or(Err(StoreError::Closed), |row| row.small("sequence"))
    }
}

/// A compensation is not wanted any more.
pub(crate) struct Dismiss {
    pub(crate) run: String,
    pub(crate) fence: Fence,
    pub(crate) sequence: u32,
}

impl Op for Dismiss {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let run = Locked::held(session, &self.run, &self.fence).await?;
        let found = session
            .one(
                sql!("select status from rota.compensations where run = $1 and sequence = $2"),
                args![&self.run, self.sequence],
            )
            .await?;
        let Some(row) = found else { return Err(none(&self.run, self.sequence)) };
        if compensation_state(&row)? == CompensationState::Registered {
            set(session, &self.run, self.sequence, CompensationState::Dismissed, Some(run.now.0)).await?;
        }
        Ok(())
    }
}

fn none(run: &str, sequence: u32) -> StoreError {
    StoreError::Misfit(format!("the run `{run}` has no compensation {sequence}"))
}

async fn set(
    session: &mut Session<'_>,
    run: &str,
    sequence: u32,
    state: CompensationState,
    finished_at: Option<i64>,
) -> Result<(), StoreError> {
    session
        .run(
            sql!("update rota.compensations set status = $3, finished_at = $4 where run = $1 and sequence = $2"),
            args![run, sequence, state.as_str(), finished_at],
        )
        .await?;
    Ok(())
}

/// Which compensation is next.
pub(crate) struct NextCompensation {
    pub(crate) run: String,
    pub(crate) fence: Fence,
}

impl Op for NextCompensation {
    type Answer = NextUndo;

    async fn apply(&self, session: &mut Session<'_>) -> Result<NextUndo, StoreError> {
        let run = Locked::held(session, &self.run, &self.fence).await?;
        if run.state != RunState::Compensating {
            return Err(StoreError::Misfit(format!(
                "the run `{}` is {}, not compensating",
                self.run,
                run.state.as_str()
            )));
        }
        let rows = session
            .all(
                sql!(
                    "select ",
                    compensation_columns!(),
                    " from rota.compensations c where c.run = $1 order by c.sequence"
                ),
                args![&self.run],
            )
            .await?;
        let mut rows = rows.iter().map(compensation_row).collect::<Result<Vec<_>, _>>()?;
        let states: Vec<_> = rows.iter().map(|row| row.status).collect();
        let Some(place) = next(&states) else { return Ok(NextUndo::Nothing) };
        let mut row = rows.swap_remove(place);
        if let Some(due) = row.due.map(crate::rows::instant)
            && due > run.now
        {
            return Ok(NextUndo::Later(due.since(run.now)));
        }
        row.attempts += 1;
        row.status = CompensationState::Running;
        session
            .run(
                sql!(
                    "update rota.compensations set status = $3, attempts = $4, due = null where run = $1 and sequence = $2"
                ),
                args![&self.run, row.sequence, row.status.as_str(), row.attempts],
            )
            .await?;
        Ok(NextUndo::Now(Box::new(row)))
    }
}

/// A compensation was carried out, or failed.
pub(crate) struct EndCompensation {
    pub(crate) run: String,
    pub(crate) fence: Fence,
    pub(crate) sequence: u32,
    pub(crate) error: Option<String>,
}

impl Op for EndCompensation {
    type Answer = AfterCompensation;

    async fn apply(&self, session: &mut Session<'_>) -> Result<AfterCompensation, StoreError> {
        let run = Locked::held(session, &self.run, &self.fence).await?;
        let row = session
            .one(
                sql!("select status, attempts from rota.compensations where run = $1 and sequence = $2"),
                args![&self.run, self.sequence],
            )
            .await?;
        let Some(row) = row else { return Err(none(&self.run, self.sequence)) };
        if compensation_state(&row)? != CompensationState::Running {
            return Err(StoreError::Misfit(format!(
                "the compensation {} of the run `{}` is not under way",
                self.sequence, self.run
            )));
        }
        // Effects of the undo itself that have no outcome were dropped with it.
        session
            .run(
                sql!("update rota.effects set outcome = 'interrupted', finished_at = $2 where run = $1 and outcome = 'running'"),
                args![&self.run, run.now],
            )
            .await?;
        let after = run.policy.undo.after(self.error.is_none(), row.small("attempts")?);
        let (state, due) = match after {
            AfterCompensation::Next => (CompensationState::Done, None),
            // Still to be done, from the wait on.
            AfterCompensation::Again { wait } => (CompensationState::Registered, Some(run.now.after(wait).0)),
            AfterCompensation::GiveUp => (CompensationState::Failed, None),
        };
        let finished = (!state.is_open()).then_some(run.now.0);
        session
            .run(
                sql!(
                    "update rota.compensations set status = $3, due = $4, finished_at = $5, error = $6 where run = $1 and sequence = $2"
                ),
                args![&self.run, self.sequence, state.as_str(), due, finished, self.error.as_deref()],
            )
            .await?;
        if after == AfterCompensation::GiveUp {
            let pending = run.pending_end;
            let state = run.after(Event::UndoFailed)?;
            run.finish(session, state, Said::default()).await?;
            // How it would have ended stays on record for the undo that a person asks for.
            if let Some(end) = pending {
                run.pend(session, end).await?;
            }
        }
        Ok(after)
    }
}

/// Everything is undone.
pub(crate) struct EndUndo {
    pub(crate) run: String,
    pub(crate) fence: Fence,
}

impl Op for EndUndo {
    type Answer = RunState;

    async fn apply(&self, session: &mut Session<'_>) -> Result<RunState, StoreError> {
        let run = Locked::held(session, &self.run, &self.fence).await?;
        let states = compensation_states(session, &self.run).await?;
        if next(&states).is_some() || states.contains(&CompensationState::Failed) {
            return Err(StoreError::Misfit(format!("the run `{}` still has something to undo", self.run)));
        }
        let state = run.after(Event::Undone(run.pending_end.unwrap_or(End::Unknown)))?;
        run.finish(session, state, Said::default()).await?;
        Ok(state)
    }
}

/// The undo goes on later, by whoever claims the run then.
pub(crate) struct PauseUndo {
    pub(crate) run: String,
    pub(crate) fence: Fence,
    pub(crate) wait: Span,
}

impl Op for PauseUndo {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let run = Locked::held(session, &self.run, &self.fence).await?;
        if run.state != RunState::Compensating {
            return Err(StoreError::Misfit(format!(
                "the run `{}` is {}, not compensating",
                self.run,
                run.state.as_str()
            )));
        }
        run.queue(session, run.state, run.now.after(self.wait)).await?;
        session.hints.push(Hint::Queue);
        Ok(())
    }
}

/// A component is kept.
pub(crate) struct KeepComponent {
    pub(crate) digest: String,
    pub(crate) content: Vec<u8>,
}

impl Op for KeepComponent {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        session
            .run(
                sql!(
                    "insert into rota.components (digest, content, kept_at) values ($1, $2, @now)
                     on conflict (digest) do update set kept_at = excluded.kept_at"
                ),
                args![&self.digest, self.content.as_slice()],
            )
            .await?;
        Ok(())
    }
}
