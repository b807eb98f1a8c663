//! Leases that are over.

use super::attempt::conclude;
use super::hold::{Locked, Open, Said, lease_of, locked_columns, open_columns, text_of};
use crate::masked;
use crate::session::{Session, args, sql};
use crate::writer::Op;
use crate::{RunState, StoreError};
use rota_protocol::{AfterAttempt, AttemptEnd, End, Event, Incarnation, Lease};
use serde_json::json;

/// So many leases in one transaction.
pub(crate) const BATCH: u32 = 100;

/// Leases end that are late, whose process has left, or is certainly gone. Answers what became of each run.
pub(crate) struct Reap {
    pub(crate) gone: Vec<Incarnation>,
}

impl Op for Reap {
    type Answer = Vec<(String, RunState)>;

    async fn apply(&self, session: &mut Session<'_>) -> Result<Vec<(String, RunState)>, StoreError> {
        let gone = json!(self.gone.iter().map(|gone| json!({ "incarnation": gone.0 })).collect::<Vec<_>>());
        let rows = session
            .all(
                sql!(
                    "select ",
                    locked_columns!(),
                    ", l.holder, l.number, l.expires, ",
                    open_columns!(),
                    " from rota.runs r join rota.leases l on l.run = r.id
                     where l.expires <= @now
                        or l.holder in (select h.incarnation from rota.hosts h where h.left_at is not null)
                        or l.holder in (select each.value ->> 'incarnation' from @each($1))
                     order by l.run limit $2 @skip"
                ),
                args![&gone.to_string(), BATCH],
            )
            .await?;
        let mut reaped = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut run = Locked::read(row)?;
            run.open = Open::of(row)?;
            let Some(lease) = lease_of(row)? else { continue };
            let state = lose(session, &run, &lease).await?;
            reaped.push((run.id, state));
        }
        Ok(reaped)
    }
}

/// A worker lost its run.
async fn lose(session: &mut Session<'_>, run: &Locked, lease: &Lease) -> Result<RunState, StoreError> {
    if run.state == RunState::Compensating {
        if !run.policy.alone {
            // Whoever claims it goes on undoing.
            run.queue(session, RunState::Compensating, run.now).await?;
            return Ok(RunState::Compensating);
        }
        // Only its own process could go on: it is a person's now, who settles it or has it tried again.
        let pending = run.pending_end;
        let note = format!("{} that undid it is gone, and only that one could go on", worker(session, lease).await?);
        let state = run.after(Event::UndoFailed)?;
        // Why the run did not finish stays its error.
        run.finish(session, state, Said::default()).await?;
        session.run(sql!("update rota.runs set note = $2 where id = $1"), args![&run.id, &masked::text(note)]).await?;
        // How it would have ended stays on record for the undo that a person asks for.
        if let Some(end) = pending {
            run.pend(session, end).await?;
        }
        return Ok(state);
    }
    let error = vanished(session, lease).await?;
    conclude(session, &[(run, AttemptEnd::Vanished, Some(&error))]).await?;
    // The wait after a lost attempt has nothing random.
    // What only its own process can go on with is over with it.
    let again = run.policy.idempotent && !run.policy.alone;
    let after = run.policy.retry.after(AttemptEnd::Vanished, run.attempt, again, 0.5);
    let end = match after {
        AfterAttempt::Retry { wait } if run.cancel.is_none() => {
            let state = run.after(Event::Retry)?;
            run.queue(session, state, run.now.after(wait)).await?;
            return Ok(state);
        }
        AfterAttempt::Retry { .. } => End::Cancelled,
        AfterAttempt::End(end) => end,
    };
    if run.open.undo && !run.policy.alone {
        let state = run.after(Event::Undo)?;
        run.pend(session, end).await?;
        session.run(sql!("update rota.runs set error = $2 where id = $1"), args![&run.id, &error]).await?;
        run.queue(session, state, run.now).await?;
        return Ok(state);
    }
    let state = run.after(Event::End(end))?;
    run.finish(session, state, Said { error: Some(&error), ..Said::default() }).await?;
    Ok(state)
}

/// Who held a lease.
async fn worker(session: &mut Session<'_>, lease: &Lease) -> Result<String, StoreError> {
    let holder = session
        .one(sql!("select name, pid, machine from rota.hosts where incarnation = $1"), args![lease.holder.0.as_str()])
        .await?;
    Ok(match holder {
        Some(row) => format!("the process {} on {}", row.number("pid")?, row.text("machine")?),
        None => "the process".to_owned(),
    })
}

/// What the run's record says of it.
async fn vanished(session: &mut Session<'_>, lease: &Lease) -> Result<String, StoreError> {
    let who = worker(session, lease).await?;
    let error = json!({
        "kind": "unknown",
        "message": format!("{who} that worked on the run is gone, or lost its lease; what it had begun may or may not have happened"),
        "hint": "look at the effects whose outcome is unknown before the job runs again",
    });
    Ok(masked::json(text_of(&error)))
}
