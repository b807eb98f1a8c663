//! A run under its lock: who holds it, what follows, and how it is given back.
//!
//! Whoever changes the state of a run locks its row in `runs` first, then its lease. What only needs the proof (effects) locks the
//! lease alone, which is enough: no takeover is possible without that row.

use super::keys;
use crate::rows::{CancelWish, Hint, RunPolicy};
use crate::session::{Row, Session, args, sql, together};
use crate::{RunState, StoreError};
use rota_protocol::compensation::any_open;
use rota_protocol::{CompensationState, End, Event, Fence, Incarnation, Instant, Lease, LeaseLost, LeaseNumber};
use serde_json::json;
use std::collections::HashMap;

/// What decides about a run, read under its lock.
pub(crate) struct Locked {
    pub(crate) id: String,
    pub(crate) job: String,
    pub(crate) state: RunState,
    pub(crate) attempt: u32,
    pub(crate) policy: RunPolicy,
    pub(crate) cancel: Option<CancelWish>,
    pub(crate) pending_end: Option<End>,
    /// What it has open, where that was asked for ([`Locked::held_many`]).
    pub(crate) open: Open,
    /// The database's time.
    pub(crate) now: Instant,
}

/// What an attempt may leave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Open {
    /// Effects under way.
    pub(crate) effects: bool,
    /// Compensations to be carried out.
    pub(crate) undo: bool,
}

/// What is said of a run that ends.
#[derive(Default)]
pub(crate) struct Said<'a> {
    pub(crate) report: Option<&'a str>,
    pub(crate) error: Option<&'a str>,
    pub(crate) dropped_log_lines: u64,
}

/// The columns of [`Locked`].
macro_rules! locked_columns {
    () => {
        "r.id, coalesce(r.job, '') as job, r.state, r.attempt, r.policy, r.cancel, r.pending_end, @now as now"
    };
}
pub(crate) use locked_columns;

/// The columns of [`Open`].
macro_rules! open_columns {
    () => {
        "(select count(*) from rota.effects e where e.run = r.id and e.outcome = 'running') as effects,
         (select count(*) from rota.compensations c where c.run = r.id and c.status in ('registered', 'running')) as undo"
    };
}
pub(crate) use open_columns;

pub(crate) fn state_of(row: &Row) -> Result<RunState, StoreError> {
    row.text("state")?.parse().map_err(StoreError::Database)
}

pub(crate) fn end_of(row: &Row, column: &str) -> Result<Option<End>, StoreError> {
    let ends = [End::Succeeded, End::Failed, End::Denied, End::TimedOut, End::Cancelled, End::Unknown];
    row.maybe_text(column)?
        .map(|word| {
            ends.into_iter()
                .find(|end| end.as_str() == word)
                .ok_or_else(|| StoreError::Database(format!("a record holds the end `{word}`, which does not exist")))
        })
        .transpose()
}

pub(crate) fn lease_of(row: &Row) -> Result<Option<Lease>, StoreError> {
    let Some(holder) = row.maybe_text("holder")? else { return Ok(None) };
    let number = LeaseNumber(row.number("number")?);
    Ok(Some(Lease { holder: Incarnation(holder), number, expires: row.instant("expires")? }))
}

impl Open {
    pub(crate) fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { effects: row.number("effects")? > 0, undo: row.number("undo")? > 0 })
    }
}

impl Locked {
    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text("id")?,
            job: row.text("job")?,
            state: state_of(row)?,
            attempt: row.small("attempt")?,
            policy: row.json("policy")?,
            cancel: row.maybe_json("cancel")?,
            pending_end: end_of(row, "pending_end")?,
            open: Open::default(),
            now: row.instant("now")?,
        })
    }

    /// A run, whoever holds it.
    pub(crate) async fn any(session: &mut Session<'_>, run: &str) -> Result<Self, StoreError> {
        let row = session
            .one(sql!("select ", locked_columns!(), " from rota.runs r where r.id = $1 @lock"), args![run])
            .await?;
        row.as_ref().map(Self::read).transpose()?.ok_or_else(|| StoreError::NotFound(run.to_owned()))
    }

    /// A run that whoever shows the fence holds: the proof, in the transaction that goes on to write.
    pub(crate) async fn held(session: &mut Session<'_>, run: &str, fence: &Fence) -> Result<Self, StoreError> {
        Self::held_many(session, &[(run, fence)]).await?.pop().unwrap_or(Err(StoreError::Closed))
    }

    /// The same for several runs, in one statement; one answer for each. What they have open is known with it: only whoever holds a run
    /// begins and ends effects and compensations of it.
    pub(crate) async fn held_many(
        session: &mut Session<'_>,
        runs: &[(&str, &Fence)],
    ) -> Result<Vec<Result<Self, StoreError>>, StoreError> {
        let list = list(runs.iter().map(|(run, _)| *run));
        let rows = session
            .all(
                sql!(
                    "select ",
                    locked_columns!(),
                    ", l.holder, l.number, l.expires, ",
                    open_columns!(),
                    " from rota.runs r join rota.leases l on l.run = r.id
                     where @in(r.id, $1) order by r.id @lock"
                ),
                args![&list],
            )
            .await?;
        let mut found = HashMap::new();
        for row in &rows {
            let mut locked = Self::read(row)?;
            locked.open = Open::of(row)?;
            if let Some(lease) = lease_of(row)? {
                found.insert(locked.id.clone(), (locked, lease));
            }
        }
        let mut answers = Vec::with_capacity(runs.len());
        for (run, fence) in runs {
            answers.push(match found.remove(*run) {
                None => Err(not_held(session, run).await?),
                Some((locked, lease)) => match lease.proves(fence, locked.now) {
                    Ok(()) => Ok(locked),
                    Err(lost) => Err(session.refuse(run, lost)),
                },
            });
        }
        Ok(answers)
    }

    /// The state that follows.
    pub(crate) fn after(&self, event: Event) -> Result<RunState, StoreError> {
        self.state.after(event).map_err(StoreError::transition(&self.id))
    }

    /// Whether anything is left to undo.
    pub(crate) async fn has_undo(&self, session: &mut Session<'_>) -> Result<bool, StoreError> {
        Ok(any_open(&compensation_states(session, &self.id).await?))
    }

    /// It is to be undone by whoever holds it, and ends so afterwards.
    pub(crate) async fn undo(&self, session: &mut Session<'_>, state: RunState, end: End) -> Result<(), StoreError> {
        session
            .run(
                sql!("update rota.runs set state = $2, pending_end = $3 where id = $1"),
                args![&self.id, state.as_str(), end.as_str()],
            )
            .await?;
        session.hints.push(Hint::Run(self.id.clone()));
        Ok(())
    }

    /// Nobody holds it any more.
    pub(crate) async fn give_back(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        session.run(sql!("delete from rota.leases where run = $1"), args![&self.id]).await?;
        Ok(())
    }

    /// It is over.
    pub(crate) async fn finish(
        &self,
        session: &mut Session<'_>,
        state: RunState,
        said: Said<'_>,
    ) -> Result<(), StoreError> {
        finish_all(session, &[(self, state, said)], &[]).await
    }

    /// It waits for a worker: to run, or to be undone.
    pub(crate) async fn queue(
        &self,
        session: &mut Session<'_>,
        state: RunState,
        due: Instant,
    ) -> Result<(), StoreError> {
        let undo = state == RunState::Compensating;
        self.give_back(session).await?;
        // A run that is to be undone keeps what it holds: what it left half done is still there.
        if !undo && !self.policy.keys.is_empty() {
            keys::free(session, &list([self.id.as_str()].into_iter())).await?;
        }
        session.run(sql!("delete from rota.queue where run = $1"), args![&self.id]).await?;
        session
            .run(
                sql!(
                    "insert into rota.queue (run, job, priority, due, hold, blocked, blocked_limit, host_labels, keys, undo)
                     values ($1, $2, $3, $4, null, null, null, $5, $6, $7)"
                ),
                args![
                    &self.id,
                    &self.job,
                    i64::from(self.policy.priority),
                    due,
                    &text_of(&self.policy.host_labels),
                    &text_of(&self.policy.keys),
                    undo
                ],
            )
            .await?;
        session
            .run(
                sql!("update rota.runs set state = $2, wait = null, due = $3 where id = $1"),
                args![&self.id, state.as_str(), due],
            )
            .await?;
        session.hints.push(Hint::Queue);
        session.hints.push(Hint::Run(self.id.clone()));
        Ok(())
    }

    /// How it will end once it is undone.
    pub(crate) async fn pend(&self, session: &mut Session<'_>, end: End) -> Result<(), StoreError> {
        session.run(sql!("update rota.runs set pending_end = $2 where id = $1"), args![&self.id, end.as_str()]).await?;
        Ok(())
    }
}

/// An attempt that is over.
macro_rules! end_attempts {
    ($list:literal) => {
        sql!(
            "update rota.attempts set finished_at = cast(each.value ->> 'at' as bigint), outcome = each.value ->> 'outcome',
                    error = each.value ->> 'error'
             from @each(",
            $list,
            ") where attempts.run = each.value ->> 'run'
               and attempts.number = cast(each.value ->> 'number' as bigint) and attempts.finished_at is null"
        )
    };
}
pub(super) use end_attempts;

/// Runs are over, and attempts of theirs with them ([`super::attempt::ends`]), as far as that is not on record.
pub(crate) async fn finish_all(
    session: &mut Session<'_>,
    runs: &[(&Locked, RunState, Said<'_>)],
    attempts: &[serde_json::Value],
) -> Result<(), StoreError> {
    if runs.is_empty() {
        return Ok(());
    }
    let all = list(runs.iter().map(|(run, ..)| run.id.as_str()));
    let keyed = runs.iter().any(|(run, ..)| !run.policy.keys.is_empty());
    if keyed {
        keys::free(session, &all).await?;
    }
    let ends: Vec<_> = runs
        .iter()
        .map(|(run, state, said)| {
            json!({
                "run": run.id,
                "state": state.as_str(),
                "at": run.now.0,
                "report": said.report,
                "error": said.error,
                "lines": said.dropped_log_lines,
                "followed": i64::from(run.policy.followed),
                "job": run.job,
            })
        })
        .collect();
    // The error of an attempt that was tried again is not that of a run that succeeded.
    session
        .run_together(
            together!(
                sql!("delete from rota.leases where @in(run, $1)"),
                sql!(
                "update rota.runs set state = each.value ->> 'state', wait = null, finished_at = cast(each.value ->> 'at' as bigint),
                        report = coalesce(each.value ->> 'report', report),
                        error = case when each.value ->> 'state' = 'succeeded' then each.value ->> 'error'
                                     else coalesce(each.value ->> 'error', error) end,
                        dropped_log_lines = dropped_log_lines + cast(each.value ->> 'lines' as bigint), pending_end = null
                 from @each($1) where runs.id = each.value ->> 'run'"
                ),
                sql!(
                    "insert into rota.ended (run, job, state, ended_at)
                     select each.value ->> 'run', each.value ->> 'job', each.value ->> 'state', cast(each.value ->> 'at' as bigint)
                     from @each($1) where cast(each.value ->> 'followed' as bigint) = 1 and each.value ->> 'job' <> ''"
                ),
                end_attempts!("$2"),
            ),
            args![&json!(ends).to_string(), &json!(attempts).to_string()],
        )
        .await?;
    if runs.iter().any(|(run, ..)| run.policy.followed) {
        session.hints.push(Hint::Schedules);
    }
    for (run, ..) in runs {
        session.hints.push(Hint::Run(run.id.clone()));
    }
    if keyed {
        session.hints.push(Hint::Queue);
    }
    Ok(())
}

/// Runs as an argument of a statement.
pub(crate) fn list<'r>(runs: impl Iterator<Item = &'r str>) -> String {
    serde_json::Value::Array(runs.map(|run| json!({ "run": run })).collect()).to_string()
}

/// What is kept as JSON. Our own types are always JSON.
pub(crate) fn text_of(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The error of a write to a run that nobody holds.
pub(crate) async fn not_held(session: &mut Session<'_>, run: &str) -> Result<StoreError, StoreError> {
    let known = session.one(sql!("select id from rota.runs where id = $1"), args![run]).await?;
    Ok(match known {
        Some(_) => session.refuse(run, LeaseLost::Released),
        None => StoreError::NotFound(run.to_owned()),
    })
}

/// The states of a run's compensations, in the order of registration.
pub(crate) async fn compensation_states(
    session: &mut Session<'_>,
    run: &str,
) -> Result<Vec<CompensationState>, StoreError> {
    let rows =
        session.all(sql!("select status from rota.compensations where run = $1 order by sequence"), args![run]).await?;
    rows.iter().map(compensation_state).collect()
}

pub(crate) fn compensation_state(row: &Row) -> Result<CompensationState, StoreError> {
    let word = row.text("status")?;
    CompensationState::from_word(&word)
        .ok_or_else(|| StoreError::Database(format!("a compensation is `{word}`, which does not exist")))
}
