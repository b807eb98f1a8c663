//! What people do to runs.

use super::hold::{Locked, Said};
use crate::rows::{CancelWish, Hint};
use crate::session::{Session, args, sql};
use crate::writer::Op;
use crate::{RunState, StoreError};
use rota_protocol::{CompensationState, End, Event, WaitReason};

/// What held a run back does not any more.
pub(crate) struct Release {
    pub(crate) run: String,
    pub(crate) reason: WaitReason,
    pub(crate) note: String,
}

impl Op for Release {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let run = Locked::any(session, &self.run).await?;
        let waits = session
            .one(sql!("select wait from rota.runs where id = $1 and wait = $2"), args![&self.run, self.reason.as_str()])
            .await?;
        let state = run.after(Event::Release)?;
        if waits.is_none() {
            return Err(StoreError::Misfit(format!(
                "the run `{}` does not wait for {}",
                self.run,
                self.reason.as_str()
            )));
        }
        session.run(sql!("update rota.queue set hold = null, blocked = null where run = $1"), args![&self.run]).await?;
        session
            .run(
                sql!("update rota.runs set state = $2, wait = null, note = $3 where id = $1"),
                args![&self.run, state.as_str(), &self.note],
            )
            .await?;
        session.hints.push(Hint::Queue);
        session.hints.push(Hint::Run(self.run.clone()));
        Ok(())
    }
}

/// Somebody wants a run cancelled.
pub(crate) struct Cancel {
    pub(crate) run: String,
    pub(crate) wish: CancelWish,
}

impl Op for Cancel {
    type Answer = RunState;

    async fn apply(&self, session: &mut Session<'_>) -> Result<RunState, StoreError> {
        let run = Locked::any(session, &self.run).await?;
        cancel(session, &run, &self.wish).await
    }
}

/// Cancel a run that is locked.
pub(super) async fn cancel(session: &mut Session<'_>, run: &Locked, wish: &CancelWish) -> Result<RunState, StoreError> {
    match run.state {
        RunState::Queued | RunState::Waiting => {
            note(session, run, wish).await?;
            session.run(sql!("delete from rota.queue where run = $1"), args![&run.id]).await?;
            // Between two attempts there may be something to undo.
            if run.has_undo(session).await? {
                let state = run.after(Event::Undo)?;
                run.pend(session, End::Cancelled).await?;
                run.queue(session, state, run.now).await?;
                return Ok(state);
            }
            let state = run.after(Event::End(End::Cancelled))?;
            run.finish(session, state, Said::default()).await?;
            Ok(state)
        }
        RunState::Running => {
            note(session, run, wish).await?;
            session.hints.push(Hint::Cancel(run.id.clone()));
            Ok(run.state)
        }
        // It is being undone, which is what cancelling leads to.
        RunState::Compensating => Ok(run.state),
        _ => run.after(Event::End(End::Cancelled)),
    }
}

async fn note(session: &mut Session<'_>, run: &Locked, wish: &CancelWish) -> Result<(), StoreError> {
    // A second wish can only be sterner.
    let terminate = wish.terminate || run.cancel.as_ref().is_some_and(|before| before.terminate);
    let wish = CancelWish { terminate, ..wish.clone() };
    session
        .run(sql!("update rota.runs set cancel = $2 where id = $1"), args![&run.id, &super::hold::text_of(&wish)])
        .await?;
    Ok(())
}

/// A person has settled what a run left.
pub(crate) struct Settle {
    pub(crate) run: String,
    pub(crate) end: End,
    pub(crate) note: String,
}

impl Op for Settle {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let run = Locked::any(session, &self.run).await?;
        let state = run.after(Event::Settle(self.end))?;
        session
            .run(
                sql!(
                    "update rota.compensations set status = $2, finished_at = $3, note = $4
                     where run = $1 and status in ('registered', 'running', 'failed')"
                ),
                args![&self.run, CompensationState::Settled.as_str(), run.now, &self.note],
            )
            .await?;
        session
            .run(
                sql!("update rota.runs set state = $2, pending_end = null, note = $3 where id = $1"),
                args![&self.run, state.as_str(), &self.note],
            )
            .await?;
        session.hints.push(Hint::Run(self.run.clone()));
        Ok(())
    }
}

/// The failed undo is to be tried again.
pub(crate) struct RetryUndo {
    pub(crate) run: String,
    pub(crate) note: String,
}

impl Op for RetryUndo {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let run = Locked::any(session, &self.run).await?;
        let state = run.after(Event::RetryUndo)?;
        if run.state == RunState::Unknown {
            if !run.has_undo(session).await? {
                return Err(StoreError::Misfit(format!(
                    "the run `{}` registered nothing that is still to be undone",
                    self.run
                )));
            }
            run.pend(session, End::Unknown).await?;
        }
        session
            .run(
                sql!(
                    "update rota.compensations set status = $2, attempts = 0, due = null, finished_at = null, note = $3
                     where run = $1 and status = 'failed'"
                ),
                args![&self.run, CompensationState::Registered.as_str(), &self.note],
            )
            .await?;
        session.run(sql!("update rota.runs set finished_at = null where id = $1"), args![&self.run]).await?;
        run.queue(session, state, run.now).await
    }
}
